"""The commands `submission`, `score` and `compare`: predictions as XTREME files, scores of any system's predictions,
and the difference between two runs or two systems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from viaduct.command import Data, Json, Rows, RunName, StoreFolder, as_json, choice
from viaduct.errors import UsageError

if TYPE_CHECKING:
    from viaduct.results.scores import Scores


def submission(  # noqa: PLR0913  one argument per option is how Typer declares a command
    run: RunName,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the predictions.")],
    data: Data = None,
    store: StoreFolder = None,
    arm: Annotated[str | None, typer.Option(help="Which intermediate arm, if there are several.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed, if there are several.")] = None,
    labels: Annotated[Path | None, typer.Option(help="New folder for the gold labels, in the same formats.")] = None,
    form: Annotated[
        Literal["xtreme", "mteb", "lm-eval"],
        choice("form", "xtreme", "mteb", "lm-eval", help="Write the scores as another benchmark's result files."),
    ] = "xtreme",
) -> None:
    """Write a run's predictions as an XTREME submission. A submission is nine folders in the official formats."""
    from viaduct import api
    from viaduct.runs import result_forms

    if form != "xtreme":
        if labels is not None or data is not None:
            why = f"--labels and --data are for the form of XTREME, and {form} does not use them"
            raise UsageError(why, fix="leave them out")
        _, kept, record = api.run_of(run, store)
        file, notes = result_forms.write(form, kept, record, directory, arm, seed)
        _notes(notes)
        typer.echo(f"submission: {file}")
        return
    count, notes = api.submission(run, directory, data=data, store=store, arm=arm, seed=seed, labels=labels)
    _notes(notes)
    typer.echo(f"submission: {directory} ({count} files)")


def score(  # noqa: PLR0913  one argument per option is how Typer declares a command
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS",
            help="Folder with xnli/test-en.tsv, ... or xnli/en.jsonl, ...; one such file, or -. Two: their difference.",
        ),
    ],
    gold: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="For a submission: folder of gold labels in the same formats.")
    ] = None,
    data: Data = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Score only this task (JSON Lines, or a single file): a name, or a file with your card.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="For JSON Lines: the split that was predicted [test].")] = None,
    language: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Language of a single file, if its name does not give it (en.jsonl)."),
    ] = None,
    evaluate_json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write what XTREME's evaluate.py returns, in percent.")
    ] = None,
    official: Annotated[
        bool, typer.Option("--official", help="Reproduce evaluate.py exactly, even where it overestimates.")
    ] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out languages without files.")] = False,
    json: Json = False,
) -> None:
    """Score predictions of one system, or compare two.

    For two systems, also shows their difference, paired by example. An XTREME submission folder is scored against
    --gold as by the benchmark's own script; JSON Lines (TASK/LANGUAGE.jsonl) are scored by id against the data sets in
    --data. The name of a single file gives its language; standard input (-) is JSON Lines, which state their language
    or get it from --language.
    """
    from viaduct import api, tables
    from viaduct.results.paired import paired

    if len(predictions) > 2 or len({one.resolve() for one in predictions}) < len(predictions):
        given = " ".join(map(str, predictions))
        raise UsageError(f"score {given}: not one system's predictions, or two", fix="name one folder or file, or two")
    first, *others = (
        api.score(one, gold, data=data, task=task, split=split, language=language, official=official, partial=partial)
        for one in predictions
    )
    names = str(predictions[0]), str(predictions[-1])
    lines, notes = paired(first, others[0], names) if others else ([], first.notes)
    if evaluate_json is not None:
        _write_official(evaluate_json, [first, *others])
    _notes(notes)
    if json:
        found = zip(predictions, (first, *others), strict=True)
        systems = [{"predictions": path, **one.as_json()} for path, one in found]
        typer.echo(as_json(systems=systems, differences=lines, notes=notes))
    else:
        typer.echo(tables.paired(lines, names) if others else tables.scores(first))


def _two_arms(given: tuple[str, str] | None) -> tuple[str, str] | None:
    if given and any(one.startswith("-") for one in given):
        raise UsageError(f"--arms {' '.join(given)}: not two arms", fix="--arms mnli none")
    return given


def compare(
    first: RunName,
    second: RunName,
    arms: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="ARM ARM", callback=_two_arms, help="One arm of each run [all arms in both]."),
    ] = None,
    store: StoreFolder = None,
    rows: Rows = None,
    json: Json = False,
) -> None:
    """Compare the arms of two runs.

    Shows differences with intervals and verdicts, as a report does for the arms of one run, paired by the seeds that
    both runs have. A folder of committed rows also counts as a run.
    """
    from viaduct import several, tables
    from viaduct.report.contrast import contrast_lines

    found, notes = several.compare(first, second, arms=arms, store=store, rows=rows)
    _notes(notes)
    typer.echo(as_json(contrasts=contrast_lines(found), notes=notes) if json else tables.compared(found))


def _write_official(path: Path, found: Sequence[Scores]) -> None:
    from viaduct.results.writing import canonical, write_atomic

    if len(found) > 1:
        raise UsageError("--evaluate-json is for one system, but two are given", fix="score each alone, or use --json")
    try:
        write_atomic(path, canonical(found[0].official()))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", fix="name another file") from error


def _notes(notes: Sequence[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
