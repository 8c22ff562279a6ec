"""The command line: arguments only. A command calls a function, mostly of `viaduct.api`, and prints what it returns."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viaduct import judging, scoring, upkeep
from viaduct.command import (
    BUG,
    DISORDER,
    MISTAKE,
    Address,
    AllowOverlap,
    CheckpointSeconds,
    Command,
    Data,
    Device,
    Devices,
    Executor,
    Fetch,
    GradientCheckpointing,
    Json,
    Keep,
    Limit,
    Memory,
    MicroBatchTokens,
    Processes,
    RecipeFile,
    Rows,
    RunName,
    Seeds,
    Set,
    StoreFolder,
    Threads,
    Track,
    Yes,
    as_json,
    changes,
    given_seeds,
    pair,
)  # fmt: skip
from viaduct.doors import loaded, offered
from viaduct.errors import UsageError, ViaductError, unknown, unwritable
from viaduct.interruption import exit_status, stopping
from viaduct.memory import Fitting
from viaduct.system import require_linux

if TYPE_CHECKING:
    from viaduct.runs.execute import Options
    from viaduct.runs.spec import Recipe

TRACKERS = "viaduct.training.tracking:chosen"

app = typer.Typer(
    name="viaduct",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 success; 1 a check found a problem; 2 a usage error, explained on standard error;"
    " 130 stopped by Ctrl-C, 143 by SIGTERM; 70 an internal error.",
)


def _version(asked: bool) -> None:
    if asked:
        from viaduct import __version__

        typer.echo(f"viaduct {__version__}")
        raise typer.Exit


@app.callback()
def viaduct(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Intermediate-task training and zero-shot evaluation of multilingual encoders."""


@app.command()
def tasks(
    name: Annotated[
        str | None, typer.Argument(help="Show one card in full; a name, or a file with a card of your own.")
    ] = None,
    json: Json = False,
) -> None:
    """List the data sets, or show one card."""
    from viaduct import api, tables

    cards = api.tasks(name)
    if json:
        typer.echo(as_json(tasks=[tables.card_values(one) for one in cards]))
    else:
        typer.echo(tables.cards(cards) if name is None else tables.card(cards[0]))


@app.command()
def check(
    name: Annotated[
        str | None, typer.Argument(metavar="TASK", help="A name, or a file with your own card; none: all.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what the data folder holds. Exits with status 1 if files are damaged.

    Shows counts, labels, lengths, duplicates and overlap; for a single TASK also its first row."""
    from viaduct import api, tables

    found = api.check(name, data=data)
    parts = [tables.survey(one) for one in found]
    if name is not None:
        parts += [tables.example(one) for one in found]
    typer.echo(as_json(tasks=found) if json else "\n\n".join(part for part in parts if part))
    if any(one.damaged for one in found):
        raise typer.Exit(DISORDER)


@app.command()
def plan(  # noqa: PLR0913  one argument per option is how Typer declares a command
    recipe: RecipeFile,
    data: Data = None,
    store: StoreFolder = None,
    rows: Rows = None,
    set: Set = None,
    limit: Limit = None,
    seeds: Seeds = None,
    json: Json = False,
) -> None:
    """Check a recipe and show what would run, without running it. Exits with status 1 if data are missing."""
    from viaduct.runs.recipes import load_recipe
    from viaduct.several import each

    recipes = each(load_recipe(recipe, overrides=changes(set, limit), seeds=given_seeds(seeds)))
    _plan(recipes, data, store, rows, json=json)


@app.command()
def run(  # noqa: PLR0913  one argument per option is how Typer declares a command
    recipe: RecipeFile,
    data: Data = None,
    store: StoreFolder = None,
    rows: Rows = None,
    set: Set = None,
    limit: Limit = None,
    seeds: Seeds = None,
    device: Device = "auto",
    threads: Threads = None,
    processes: Processes = 1,
    devices: Devices = 1,
    executor: Executor = "local",
    address: Address = None,
    memory_gb: Memory = 4.0,
    micro_batch_tokens: MicroBatchTokens = None,
    gradient_checkpointing: GradientCheckpointing = False,
    track: Track = None,
    keep: Keep = "all",
    allow_overlap: AllowOverlap = False,
    fetch: Fetch = False,
    yes: Yes = False,
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Run the unfinished stages of a recipe and write its report."""
    from viaduct.runs.recipes import load_recipe
    from viaduct.several import each

    whole = load_recipe(recipe, overrides=changes(set, limit), seeds=given_seeds(seeds))
    recipes = each(whole)
    fitting = Fitting(micro_batch_tokens, gradient_checkpointing, devices)
    options = _options(device, threads, processes, memory_gb, checkpoint_seconds, track, fitting)
    if fetch:
        from viaduct.fetching.arriving import arrived

        recipes = tuple(arrived(one, data, yes=yes) for one in recipes)
    options = replace(options, keep=keep, executor=executor, address=address)
    _run(recipes, data, store, options, allow_overlap, rows, whole.run_name)


@app.command()
def evaluate(  # noqa: PLR0913  one argument per option is how Typer declares a command
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="A folder, or a Hub name, owner/name@commit.")
    ],
    tasks: Annotated[str, typer.Option(metavar="xtreme|NAME,...", help="Which of the nine tasks.")] = "xtreme",
    revision: Annotated[str | None, typer.Option(metavar="COMMIT", help="The Hub commit of a single model.")] = None,
    substitutions: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Recipe whose substitutes for missing splits are used.")
    ] = None,
    data: Data = None,
    store: StoreFolder = None,
    set: Set = None,
    limit: Limit = None,
    seeds: Seeds = None,
    device: Device = "auto",
    threads: Threads = None,
    processes: Processes = 1,
    devices: Devices = 1,
    memory_gb: Memory = 4.0,
    micro_batch_tokens: MicroBatchTokens = None,
    gradient_checkpointing: GradientCheckpointing = False,
    track: Track = None,
    allow_overlap: AllowOverlap = False,
    fetch: Fetch = False,
    yes: Yes = False,
    checkpoint_seconds: CheckpointSeconds = 300.0,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would run, without running it.")] = False,
    own_head: Annotated[
        bool, typer.Option("--own-head", help="Train nothing: score the model's own head on --tasks.")
    ] = False,
    labels: Annotated[
        str | None, typer.Option(metavar="THEIRS=OURS,...", help="With --own-head: what the model's labels mean.")
    ] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="With --own-head: save the predictions here.")] = None,
) -> None:
    """Evaluate encoders on the XTREME tasks. Several models get a run each, plus one page with all of them.

    Each is trained on every English training set with published settings and evaluated in every language."""
    if own_head:
        judging.own_head(models, tasks, data, labels, revision, to)
        return
    from viaduct.results.xtreme import TARGETS
    from viaduct.runs.recipes import load_recipe
    from viaduct.several import evaluations

    recipes = evaluations(
        models,
        revision,
        changes(set, limit),
        tasks=TARGETS if tasks == "xtreme" else tuple(tasks.split(",")),
        seeds=given_seeds(seeds) or (1,),
        substitutions=() if substitutions is None else load_recipe(substitutions).substitutions,
    )
    fitting = Fitting(micro_batch_tokens, gradient_checkpointing, devices)
    options = _options(device, threads, processes, memory_gb, checkpoint_seconds, track, fitting)
    if fetch:
        from viaduct.fetching.arriving import arrived

        recipes = tuple(arrived(one, data, yes=yes) for one in recipes)
    if plan:
        _plan(recipes, data, store)
    else:
        _run(recipes, data, store, options, allow_overlap)


@app.command()
def status(run: RunName, store: StoreFolder = None, rows: Rows = None, json: Json = False) -> None:
    """Show the state of each stage of a run."""
    from viaduct import api, several, tables

    found = {
        one: (api.status(one, store=store, rows=rows), api.report_state(one, store=store, rows=rows))
        for one in several.members(run, store)
    }
    runs = [tables.status_values(one, *stages) for one, stages in found.items()]
    typer.echo(as_json(runs=runs) if json else "\n".join(tables.status(*one) for one in found.values()))


@app.command()
def report(
    run: RunName,
    data: Data = None,
    store: StoreFolder = None,
    rows: Rows = None,
    published: Annotated[bool, typer.Option("--published", help="Show published numbers on the same tasks.")] = False,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="ARM:ARM", help="Test the first of two arms against the second.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the report here instead of the run's folder.")
    ] = None,
) -> None:
    """Write a report on the stages of a run that are done so far."""
    from viaduct import several

    pairs = tuple(pair(text) for text in compare or ())
    written = several.report(run, data=data, store=store, rows=rows, published=published, compare=pairs, to=to)
    typer.echo(f"report: {written}")


def _options(
    device: str,
    threads: int | None,
    processes: int,
    memory_gb: float,
    checkpoint_seconds: float,
    track: Sequence[str] | None,
    fitting: Fitting,
) -> Options:
    from viaduct.runs.execute import DEVICES, Options

    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    return Options(
        device=device,
        threads=threads,
        processes=processes,
        checkpoint_seconds=checkpoint_seconds,
        memory_bytes=int(memory_gb * 1e9),
        track=loaded(TRACKERS)(track or ()),
        fitting=fitting,
    )


def _plan(
    recipes: Sequence[Recipe], data: Path | None, store: Path | None, rows: Path | None = None, *, json: bool = False
) -> None:
    from rich.console import Console

    from viaduct import api, plans

    found = []
    for recipe in recipes:
        with Console(stderr=True).status("reading the data"):
            found.append(api.plan(recipe, data=data, store=store, rows=rows))
    typer.echo(as_json(plans=[*map(plans.values, found)]) if json else "\n".join(map(plans.text, found)))
    if lacking := [recipe.name for recipe, planned in zip(recipes, found, strict=True) if planned.plan.missing]:
        typer.echo(f"viaduct: recipe {', '.join(lacking)} needs data that is missing (listed above)", err=True)
        raise typer.Exit(DISORDER)


def _run(
    recipes: Sequence[Recipe],
    data: Path | None,
    store: Path | None,
    options: Options,
    allow_overlap: bool,
    rows: Path | None = None,
    name: str | None = None,
) -> None:
    from viaduct import several

    command = " ".join(["viaduct", *sys.argv[1:]])
    try:
        with stopping():
            result = several.run(
                recipes,
                name,
                data=data,
                store=store,
                rows=rows,
                options=options,
                command=command,
                allow_overlap=allow_overlap,
            )
    except KeyboardInterrupt as error:
        typer.echo("stopped; run the same command again to resume", err=True)
        raise typer.Exit(exit_status(error)) from error
    typer.echo(f"report: {result.report}")


for _function in (
    upkeep.recipes, scoring.submission, scoring.score, scoring.compare,
    upkeep.rows, upkeep.clean, upkeep.verify, upkeep.doctor,
):  # fmt: skip
    app.command()(_function)


def _add_commands() -> ViaductError | None:
    """Add the rooms' commands; returns the error of a plug-in that cannot be loaded, for `main` to raise."""
    try:
        own = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
        for command in offered("commands", Command).values():
            if command.name in own:
                raise UsageError(f"a plug-in offers the command '{command.name}', which Viaduct has", fix="rename it")
            app.command(command.name)(command.function)
    except ViaductError as error:
        return error
    return None


_broken = _add_commands()


def main() -> None:
    """The program. A user's mistake gives one message and exit status 2, any other failure a traceback and 70."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows its code
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        require_linux()
        if _broken is not None:
            raise _broken
        app()
    except Exception as error:
        known = error if isinstance(error, ViaductError) else unwritable(error, "the output")
        if known is None:
            traceback.print_exc()
            sys.exit(BUG)
        typer.echo(f"viaduct: {known}", err=True)
        sys.exit(MISTAKE)
