"""The commands `submission` and `score`: predictions as files of XTREME, and the scores of anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viaduct.command import Data, RunName, StoreFolder
from viaduct.errors import UsageError


def submission(
    run: RunName,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the predictions.")],
    data: Data = None,
    store: StoreFolder = None,
    arm: Annotated[str | None, typer.Option(help="Which intermediate arm, where there are several.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed, where there are several.")] = None,
    labels: Annotated[Path | None, typer.Option(help="New folder for the gold labels, in the same formats.")] = None,
) -> None:
    """Write a run's predictions as an XTREME submission: nine folders in the official formats."""
    from viaduct import api

    count, notes = api.submission(run, directory, data=data, store=store, arm=arm, seed=seed, labels=labels)
    _notes(notes)
    typer.echo(f"submission: {directory} ({count} files)")


def score(  # noqa: PLR0913  one argument per option is how Typer declares a command
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Folder with xnli/test-en.tsv, ... or xnli/en.jsonl, ...; one such file, or -."
        ),
    ],
    gold: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="Of a submission: folder of labels in the same formats.")
    ] = None,
    data: Data = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="Only this one (JSON Lines, or one file); a name, or a file with your card."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of JSON Lines: the split that was predicted [test].")] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Of one file whose name does not end in it, as en.jsonl does.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Also write what evaluate.py returns, and more under "viaduct".')
    ] = None,
    official: Annotated[bool, typer.Option("--official", help="Exactly evaluate.py, also where it flatters.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out the languages without files.")] = False,
) -> None:
    """Score anybody's predictions.

    An XTREME submission folder is scored against --gold as the benchmark's own script does it; JSON Lines
    (TASK/LANGUAGE.jsonl) are scored by id against the data sets in --data. One file is told its language by its name;
    standard input (-) is JSON Lines, which say it or are told it with --language.
    """
    from viaduct import api, tables
    from viaduct.results.store import canonical, write_atomic

    scores = api.score(
        predictions,
        gold,
        data=data,
        task=task,
        split=split,
        language=language,
        official=official,
        partial=partial,
    )
    if json is not None:
        try:
            write_atomic(json, canonical(scores.as_json()))
        except OSError as error:
            raise UsageError(f"{json} cannot be written: {error.strerror}", fix="name another file") from error
    _notes(scores.notes)
    typer.echo(tables.scores(scores))


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
