"""Scores of a finished model with the head that it came with: predicted, written as JSON Lines, scored as anybody's."""

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
    """Of the test rows of every language whose files have labels; predictions stay in the new folder `to`.

    Raises UsageError for a folder that is there, and what opening the model, its labels and the data raise.
    """
    if to is not None and to.exists():
        raise UsageError(f"{to} is there already", fix="name a new folder, or remove it")
    files = DataFolder(data, Catalogue.builtin())
    with tempfile.TemporaryDirectory() as scratch:
        folder = to or Path(scratch)
        for name in tasks:
            card, predict = files.task(name), loaded(PREDICT)
            predict(model, card, files, folder / name, split="test", labels=labels, revision=revision)
        return JsonLines(folder, files, task=None, split="test").scores(partial=True)


def label_pairs(text: str | None) -> dict[str, str]:
    """What `--labels LABEL_0=entailment,LABEL_1=neutral` says. Raises UsageError for a part without "="."""
    parts = [part.partition("=") for part in text.split(",")] if text else []
    for theirs, sign, ours in parts:
        if not (theirs and sign and ours):
            raise UsageError(f"--labels {text}: '{theirs}' is not a pair", fix="--labels LABEL_0=entailment,...")
    return {theirs.strip(): ours.strip() for theirs, _, ours in parts}
