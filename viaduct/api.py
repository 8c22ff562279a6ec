"""Viaduct from Python: the main command-line verbs as functions. Importing this module does not import torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from viaduct.command import data_folder, data_if_any
from viaduct.errors import StoreError, UsageError, one_message
from viaduct.paths import cache_directory, default_rows, default_store, run_directory
from viaduct.results import checksums, one_file
from viaduct.results.checksums import Verified
from viaduct.results.committed import CommittedRows, StoreWithRows
from viaduct.results.json_lines import JsonLines, holds_json_lines
from viaduct.results.result import Result
from viaduct.results.scores import Scores
from viaduct.results.store import Store
from viaduct.results.submission import Submission
from viaduct.results.working import new_files
from viaduct.results.xtreme import TARGETS
from viaduct.runs import cautions, collect, committed, execute, host, joining, ranks
from viaduct.runs import doctor as machine
from viaduct.runs import submission as hand_in
from viaduct.runs.check import Survey, survey
from viaduct.runs.collect import RunRecord
from viaduct.runs.committed import Added
from viaduct.runs.display import shown
from viaduct.runs.encoder import fetch_small_files
from viaduct.runs.evaluation import evaluation
from viaduct.runs.execute import Options
from viaduct.runs.field import generator
from viaduct.runs.freshness import Freshness, freshness
from viaduct.runs.gaps import require
from viaduct.runs.identity import Standing
from viaduct.runs.keep import Cleaning, Keep
from viaduct.runs.kept import of_stages, said_of_rows
from viaduct.runs.outcomes import RunOutcomes
from viaduct.runs.overlap import require_none
from viaduct.runs.planned import Planned, plan_recipe, require_space, warnings
from viaduct.runs.predictions import RunPredictions
from viaduct.runs.recipes import load_recipe
from viaduct.runs.revisions import resolved
from viaduct.runs.selection import with_choices
from viaduct.runs.spec import Recipe, Substitution
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import CARD_FILES, Catalogue
from viaduct.tasks.folder import DataFolder


@dataclass(frozen=True)
class StageStatus:
    """One stage of a run: its state and the seconds spent on it so far (None if unknown)."""

    path: str
    kind: str
    state: Standing
    seconds: float | None


def tasks(name: str | None = None) -> tuple[Task, ...]:
    """All task cards, or the one with this name or in this file. Raises UsageError with the nearest name if missing."""
    return _cards(name)[0]


def _cards(name: str | None) -> tuple[tuple[Task, ...], Catalogue]:
    """(the cards, as for `tasks`; the catalogue they come from)."""
    catalogue = Catalogue.builtin()
    if name is None:
        return tuple(catalogue), catalogue
    if name.endswith(CARD_FILES):
        catalogue = catalogue.with_files([name])
        return tuple(catalogue)[-1:], catalogue
    return (catalogue.task(name),), catalogue


def check(name: str | None = None, *, data: Path | None = None) -> tuple[Survey, ...]:
    """A survey of one task's data, or of every task's: counts, labels, lengths, duplicates, overlap."""
    cards, catalogue = _cards(name)
    folder = DataFolder(data_folder(data), catalogue)
    return tuple(survey(card, folder) for card in cards)


def plan(
    recipe: Recipe | Path | str, *, data: Path | None = None, store: Path | None = None, rows: Path | None = None
) -> Planned:
    """The recipe's stages, checked against the data, the store and the committed rows (in `rows`/<recipe>). Runs
    nothing.

    Missing data are listed in the plan's `missing`; the recipe cannot run without them. Raises UsageError, DataError
    for damaged files, or StoreError (a directory holds another experiment).
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    store = store or default_store()
    committed = CommittedRows((rows or default_rows()) / recipe.run_name)
    return plan_recipe(recipe, _data_of(recipe, data, store).resolve(), store, committed)


def _data_of(recipe: Recipe, data: Path | None, store: Path) -> Path:
    """The data folder. If none is named and the recipe generates its data, they are made in the store's cache."""
    field = generator(recipe)
    made = None
    if field is not None and data is None:
        _make(cache_directory(store))
        made = field.generate(recipe, cache_directory(store))
    return made or data_folder(data)


def _gold_of(recipe: Recipe, data: Path | None, store: Path) -> Path | None:
    """Like `_data_of`, but None if no folder is named and the default one does not exist."""
    return data_if_any(data) if data is not None or generator(recipe) is None else _data_of(recipe, None, store)


def _make(folder: Path) -> None:
    """Make the store's folder, or one in it. Raises StoreError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {folder} cannot be made: {error.strerror}", fix="name another --store") from error


def run(  # noqa: PLR0913  what the command line offers, one argument each
    recipe: Recipe | Path | str,
    *,
    data: Path | None = None,
    store: Path | None = None,
    rows: Path | None = None,
    options: Options | None = None,
    console: Console | None = None,
    command: str = "",
    allow_overlap: bool = False,
) -> Result:
    """The recipe's result, after running its unfinished stages and writing its report.

    Before anything starts: raises what `plan` raises, and DataError for missing data and for rows that are both trained
    and evaluated on (unless `allow_overlap`, which the report then mentions). Also raises what a stage raises; finished
    stages stay finished.
    """
    store = store or default_store()
    _make(store)
    recipe = resolved(recipe if isinstance(recipe, Recipe) else load_recipe(recipe))
    fetch_small_files(recipe.encoder, recipe.revision)
    planned = plan(recipe, data=data, store=store, rows=rows)
    options = options or Options()
    require(planned.plan.missing, planned.plan.recipe, planned.census)
    if not allow_overlap:
        require_none(planned.overlaps, planned.plan.recipe, planned.census.data.folder.catalogue)
    require_space(planned, options.keep)
    record = collect.run_record(planned, command=command or " ".join(sys.argv), versions=host.versions())
    console = console or Console(stderr=True, quiet=ranks.launched().number > 0)
    for line in warnings(planned):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    weights = {path: one.weight + 1.0 for path, one in planned.estimates.items()}

    with (
        one_message(store),
        joining.others(planned, options) as these,
        shown(console, weights) as display,
    ):
        done = execute.run(planned, options, display, lambda: collect.save_run(planned.store, record), these)
    # Another run of the same name may have started at the same time and taken some of the stage directories.
    placed = collect.run_record(done, command=record.command, versions=record.versions)
    directory = collect.save_run(planned.store, placed.model_copy(update={"created": record.created}))
    report(directory, data=planned.census.data.root, rows=rows, console=console)
    return Result(directory)


def evaluate(  # noqa: PLR0913  what the command line offers, one argument each
    encoder: str,
    *,
    tasks: Sequence[str] = TARGETS,
    revision: str | None = None,
    seeds: tuple[int, ...] = (1,),
    substitutions: Sequence[Substitution] = (),
    data: Path | None = None,
    store: Path | None = None,
    options: Options | None = None,
) -> Result:
    """Evaluate an encoder on XTREME's tasks with published settings (see `runs.evaluation`); raises what `run` does."""
    recipe = evaluation(encoder, tasks=tasks, revision=revision, seeds=seeds, substitutions=substitutions)
    return run(recipe, data=data, store=store, options=options)


def open_run(run: str | Path, *, store: Path | None = None) -> Result:
    """The result of a run, as of its last report (`report` makes a new one). A report is made first if there is none
    or it covers stages that are not this run's. `run` as for `status`. Raises UsageError if there is no such run."""
    directory, kept, record = run_of(run, store)
    if not (directory / "report.json").is_file() or freshness(kept, record, directory).stages_foreign:
        report(run, store=store)
    return Result(directory)


def report_state(run: str | Path, *, store: Path | None = None, rows: Path | None = None) -> Freshness:
    """How the run's report compares with the stages that are done now; `run` as for `status`."""
    directory, kept, record = run_of(run, store, rows)
    return freshness(kept, record, directory)


def status(run: str | Path, *, store: Path | None = None, rows: Path | None = None) -> tuple[StageStatus, ...]:
    """Every stage of a run with its state. `run` is the run's directory, the name of a recipe in the store or among
    the committed rows, or a folder of committed rows."""
    _, kept, record = run_of(run, store, rows)
    found = collect.states(kept, record)
    return tuple(
        StageStatus(
            stage.path,
            stage.kind,
            found[stage.path],
            _seconds(kept, stage.path, found[stage.path]),
        )
        for stage in record.stages
    )


def _seconds(kept: Store, path: str, state: Standing) -> float | None:
    if state == "done":
        return float(kept.cost(path)["seconds"])
    return (kept.seconds(path) or None) if state in ("running", "interrupted") else None


def report(  # noqa: PLR0913  each is an option of the command
    run: str | Path,
    *,
    data: Path | None = None,
    store: Path | None = None,
    rows: Path | None = None,
    published: bool = False,
    compare: Sequence[tuple[str, str]] = (),
    to: Path | None = None,
    console: Console | None = None,
) -> Path:
    """Write the report of what is done of a run so far, from the store and the committed rows, or from the rows alone;
    returns its page. `run` as for `status`. The report goes into the run's directory, or into the folder `to`, which
    read-only stores need.

    `published`: include published numbers on the same tasks. `compare`: pairs of arms to test against each other, in
    addition to those in the recipe. `data` is needed for pages of predictions, which are only written into a run's
    directory, and once for scores by an older version that stored no outcomes by example (`runs.outcomes`). Raises
    UsageError for arms that do not exist.
    """
    directory, kept, record = run_of(run, store, rows)
    directory = to or directory
    outcomes, told = RunOutcomes(kept, record, kept.rows), (*said_of_rows(kept), *cautions.said_of_run(kept, record))
    predicted = RunPredictions(kept, record, data_if_any(data) if to is None else None)
    page = importlib.import_module("viaduct.report.page")  # imported here so that planning does not wait for Matplotlib
    with one_message(kept.root):
        for line in (*outcomes.make_missing(lambda: _gold_of(record.recipe, data, kept.root)), *told):
            (console or Console(stderr=True)).print(line, markup=False, highlight=False, soft_wrap=True)
        collected = collect.collect(kept, record)
        about = collected.about.model_copy(update={"remarks": (*collected.about.remarks, *told)})
        collected = collected._replace(about=about)
        earlier = (*page.earlier(), *(f"{name}.jsonl" for name in collected.records))
        with new_files(directory, page.LAST, earlier) as folder:
            collect.save_collected(folder, collected)
            asked = page.Asked(published, compare, predicted)
            page.write(*collected[:3], folder, records=collected.records, outcomes=outcomes, asked=asked)
    for line in predicted.problems[:1]:
        (console or Console(stderr=True)).print(f"some predictions are not shown, such as {line}", markup=False)
    return directory / "report.html"


def submission(
    run: str | Path,
    directory: Path,
    *,
    data: Path | None = None,
    store: Path | None = None,
    arm: str | None = None,
    seed: int | None = None,
    labels: Path | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Write the predictions of one arm and seed in XTREME's formats below `directory`: (number of files, notes).

    The gold rows go into `labels`, if given, in the same formats. The notes name the tasks and languages that a
    complete submission needs and this run lacks. Raises what `plan` and `runs.submission.write` raise.
    """
    _, kept, record = run_of(run, store)
    planned = plan(record.recipe, data=data, store=kept.root)
    require(planned.plan.missing, planned.plan.recipe, planned.census)
    chosen = {cell.score for cell in record.cells}
    done = replace(planned.plan, cells=tuple(cell for cell in planned.plan.cells if cell.score.path in chosen))
    cells = hand_in.choose(done, arm, seed)
    count = hand_in.write(done, cells, Store(kept.root), planned.census.data, directory, labels)
    return count, hand_in.holes(done, cells)


def score(  # noqa: PLR0913  what the command line offers, one argument each
    predictions: Path,
    labels: Path | None = None,
    *,
    data: Path | None = None,
    task: str | None = None,
    split: str | None = None,
    language: str | None = None,
    official: bool = False,
    partial: bool = False,
) -> Scores:
    """The scores of predictions from any system: an XTREME submission folder, JSON Lines by task and language, or a
    single file of either kind ("-": standard input). `language`: that of a single file whose name does not say it.

    A submission is scored against the folder `labels`, as by the benchmark's script (see `Submission`). JSON Lines are
    scored against the gold data of the cards in the `data` folder (see `JsonLines`); `task` restricts this to one task
    (a name, or a card's Python file). Raises what these two raise, and UsageError for options of the other format.
    """
    if not predictions.is_dir():
        cards, catalogue = _cards(task)
        card, given = None if task is None else cards[0], one_file.Given(predictions, split, language, official)
        return one_file.scores(given, labels, lambda: DataFolder(data_folder(data), catalogue), card)
    if language is not None:
        raise UsageError(f"--language is for one file, but {predictions} is a folder", fix="leave it out")
    if holds_json_lines(predictions):
        if labels is not None or official:
            raise UsageError(
                f"{predictions} holds JSON Lines: their gold is in the data sets; --gold and --official do not apply",
                fix="name the folder of the data sets with --data",
            )
        cards, catalogue = _cards(task)
        folder, one = DataFolder(data_folder(data), catalogue), None if task is None else cards[0].name
        return JsonLines(predictions, folder, task=one, split=split or "test").scores(partial=partial)
    if labels is None:
        raise UsageError(
            f"{predictions} holds no JSON Lines, and a submission needs its gold labels",
            fix="name their folder with --gold; JSON Lines are <task>/<language>.jsonl (<language>.jsonl with --task)",
        )
    if data is not None or task is not None or split is not None:
        raise UsageError(
            f"--data, --task and --split are for JSON Lines, and {predictions} holds none",
            fix="leave them out for a submission, or write <task>/<language>.jsonl",
        )
    return Submission(predictions, labels, official=official).scores(partial=partial)


def clean(run: str | Path, *, keep: Keep = "needed", data: Path | None = None, store: Path | None = None) -> int:
    """Remove a run's models (with "scores", also predictions) that its remaining stages do not need; returns the bytes
    freed. `run` as for `status`. Raises what `plan` raises."""
    _, kept, record = run_of(run, store)
    planned = plan(record.recipe, data=data, store=kept.root)
    require(planned.plan.missing, planned.plan.recipe, planned.census)
    with one_message(kept.root):
        return Cleaning(planned.plan, planned.store, keep).clean(planned.plan.stages)


def verify(store: Path | None = None) -> Verified:
    """Check a store's files against their checksums. Raises StoreError if there is no such folder."""
    root = store or default_store()
    if not root.is_dir():
        raise StoreError(f"there is no store {root}", fix="name the folder of the results")
    return checksums.verify(root)


def doctor(*, store: Path | None = None, online: bool = False) -> tuple[machine.Finding, ...]:
    """What this machine has, and what is broken: versions, devices, torchvision, disk (see `runs.doctor.examine`)."""
    return machine.examine(store or default_store(), online=online)


def add_rows(run: str | Path, *, store: Path | None = None, rows: Path | None = None) -> tuple[Path, Added]:
    """Pack the finished stages of a run for a repository (`viaduct.runs.committed`): (folder of the recipe's committed
    rows, what was added to them). `run` is the run's directory, or the name of a recipe in the store.

    Raises UsageError if nothing is done, StoreError for damaged rows.
    """
    directory, kept, record = run_of(run, store, rows)
    folder = (rows or default_rows()) / directory.name
    return folder, committed.add_rows(record, Store(kept.root), folder)


def run_of(run: str | Path, store: Path | None, rows: Path | None = None) -> tuple[Path, StoreWithRows, RunRecord]:
    """(the run's directory; its store, with committed rows in place of stages; its record). `run` as for `status`."""
    every = rows or default_rows()
    path = Path(run).parent if Path(run).is_file() else Path(run)  # a file of committed rows
    by_name = store and (run_directory(store, str(run)) / "run.json").is_file()
    is_directory = not by_name and (path / "run.json").is_file()
    root = path.resolve().parent.parent if is_directory else store or default_store()
    directory = path if is_directory else run_directory(root, str(run))
    are_rows = (path / committed.RECORD).is_file()
    folder = path if are_rows else every / str(run)
    if not are_rows and (directory / "run.json").is_file():
        record = collect.load_run(directory)
        folder = every / directory.name
    elif (folder / committed.RECORD).is_file():
        record = committed.load_rows(folder)
        name = record.recipe.run_name
        directory = run_directory(root, folder.name if folder.name.startswith(f"{name}@") else name)
    else:
        raise _no_run(run, root, every)
    kept = of_stages({one.path: one.fingerprint for one in record.stages}, Store(root), CommittedRows(folder))
    return directory, kept, with_choices(kept, record)


def _no_run(run: str | Path, root: Path, rows: Path) -> UsageError:
    found = {*run_directory(root, "x").parent.glob("*/run.json"), *rows.glob(f"*/{committed.RECORD}")}
    known = sorted({one.parent.name for one in found})
    return UsageError(
        f"there is no run '{run}' in {root}",
        fix=f"use one of: {', '.join(known)}" if known else "start one with `viaduct run`, or name its --store",
    )
