"""Commands that evaluate models trained elsewhere: `viaduct evaluate --own-head`, with the head a model came with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from viaduct.errors import UsageError


def own_head(
    models: Sequence[str], tasks: str, data: Path | None, labels: str | None, revision: str | None, to: Path | None
) -> None:
    """Print the scores of a finished model on these tasks (comma-separated names)."""
    from viaduct import tables
    from viaduct.command import data_folder
    from viaduct.runs.own_head import label_pairs, own_head_scores

    if len(models) > 1:
        raise UsageError("--own-head scores one model at a time", fix="run the command once for each")
    if tasks == "xtreme":
        raise UsageError("--own-head: a model's head is for one kind of task", fix="name it: --tasks xnli")
    named = label_pairs(labels)
    found = own_head_scores(models[0], tasks.split(","), data_folder(data), labels=named, revision=revision, to=to)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(tables.scores(found))
