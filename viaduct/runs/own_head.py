"""Scores of a finished model with its own head: predicted, written as JSON Lines, scored like anyone's predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from viaduct.doors import loaded
from viaduct.errors import UsageError
from viaduct.results.json_lines import JsonLines
from viaduct.results.scores import Scores
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

PREDICT = "viaduct.inference.own_head:predict_with_own_head"


def own_head_scores(
    model: str,
    tasks: Sequence[str],
    data: Path,
    *,
    labels: Mapping[str, str],
    revision: str | None = None,
    to: Path | None = None,
) -> Scores:
    """The scores on the test rows of every language whose files have labels; predictions stay in the new folder `to`.

    Raises UsageError if the folder exists, and whatever opening the model, its labels and the data raises.
    """
    if to is not None and to.exists():
        raise UsageError(f"{to} already exists", fix="name a new folder, or remove it")
    files = DataFolder(data, Catalogue.builtin())
    with tempfile.TemporaryDirectory() as scratch:
        folder = to or Path(scratch)
        for name in tasks:
            card, predict = files.task(name), loaded(PREDICT)
            predict(model, card, files, folder / name, labels=labels, revision=revision)
        return JsonLines(folder, files).scores(partial=True)


def label_pairs(text: str | None) -> dict[str, str]:
    """Parses `--labels LABEL_0=entailment,LABEL_1=neutral`. Raises UsageError for a part that is not a pair."""
    parts = [part.partition("=") for part in text.split(",")] if text else []
    for theirs, sign, ours in parts:
        if not (theirs and sign and ours):
            raise UsageError(f"--labels {text}: '{theirs}' is not a pair", fix="--labels LABEL_0=entailment,...")
    return {theirs.strip(): ours.strip() for theirs, _, ours in parts}
