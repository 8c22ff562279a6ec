"""Orders intermediate tasks, or encoders, by how well they seem to suit a target: from small samples of English rows,
without training.

Tasks are ordered by how similar their texts are to the target's, as seen by one encoder: the cosine between the means
of its states over both samples (TextEmb, Vu et al. 2020, arXiv 2005.00770; Poth et al. 2021, arXiv 2104.08247, found
that embeddings of data sets choose better than few-shot training). Encoders that have been trained further are ordered
by LogME of the target's labels.

Shape letters: B sequences, L tokens, D width, N examples, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from viaduct.encode.batch import collate, plan_batches
from viaduct.encode.tokens import Limits, encode
from viaduct.errors import DataError, UsageError
from viaduct.heads.head import encoding_of
from viaduct.languages import ENGLISH
from viaduct.models.encoder import encode_batch, load_encoder, load_tokenizer, longest_input
from viaduct.models.numerics import prepare
from viaduct.models.sentences import pool
from viaduct.ranking.evidence import log_evidence
from viaduct.rows import Row
from viaduct.runs.encoder_check import require_folder
from viaduct.runs.sizes import PREDICTION_TOKENS
from viaduct.tasks.card import Task
from viaduct.tasks.folder import DataFolder
from viaduct.training.order import sample_rows

LENGTH = 128
"""Maximum number of tokens per row."""


class Ranked(NamedTuple):
    """A task or an encoder, and the value it is ranked by; higher is better."""

    name: str
    rows: int
    split: str
    """Split that the rows come from."""
    value: float


class Look:
    """An encoder's states, averaged over the tokens of each sequence. `folder`: a `train` folder of a store, or an
    encoder's own folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        inner = folder / "encoder"
        self.folder = inner if inner.is_dir() else folder
        require_folder(self.folder)
        self.device = prepare("auto", threads)
        self.tokenizer = load_tokenizer(str(self.folder), None)
        self.encoder = load_encoder(str(self.folder), None).to(self.device).eval()

    def states(self, card: Task, rows: Sequence[Row]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(N, D) mean states of the examples, and (N,) the index of each example's row."""
        limits = Limits(min(LENGTH, longest_input(self.encoder)), LENGTH // 4)
        encoded = encode(rows, encoding_of(card.kind), self.tokenizer, (), limits)
        found: dict[int, NDArray[Any]] = {}
        for examples in plan_batches(encoded.lengths, encoded.widths, PREDICTION_TOKENS, None):
            batch = collate(encoded, examples, self.tokenizer.pad_token_id).to(self.device)
            with torch.inference_mode():
                pooled_BD = pool(encode_batch(self.encoder, batch), batch.mask_BL, "mean").float().cpu().numpy()
            starts = np.cumsum([0, *encoded.widths[examples][:-1]])
            means_ND = np.add.reduceat(pooled_BD, starts, axis=0) / encoded.widths[examples][:, None]
            found.update(zip(examples.tolist(), means_ND, strict=True))
        return np.stack([found[at] for at in range(len(encoded))]), np.asarray(encoded.rows)


def english_rows(card: Task, data: DataFolder, count: int) -> tuple[str, tuple[Row, ...]]:
    """("train", a sample of a card's English train rows, always the same); if there are none, "dev" and a sample of dev
    rows."""
    split = "train" if data.has(card.name, "train", ENGLISH) else "dev"
    return split, sample_rows(data.read(card.name, split, ENGLISH).rows, count, seed=1)


def trained_card(target: str, data: DataFolder) -> Task:
    """The card that a target is trained on. Raises UsageError if there is none."""
    card = data.task(target)
    if card.trained_on is None:
        raise UsageError(f"{target} has no training data", fix="name a target that has some, such as xnli")
    return data.task(card.trained_on)


def candidates(target: str, data: DataFolder) -> list[Task]:
    """The cards that can be an intermediate task for this target: those that are trained on their own rows, and whose
    English train or dev files are present."""
    own = trained_card(target, data).name
    others = (card for card in data.catalogue if card.name not in (own, target) and ENGLISH in card.languages)
    trained = [card for card in others if card.row_kind.head is not None and card.trained_on in (None, card.name)]
    return [card for card in trained if any(data.has(card.name, split, ENGLISH) for split in ("train", "dev"))]


def by_likeness(look: Look, target: str, tasks: Sequence[Task], data: DataFolder, count: int) -> list[Ranked]:
    """The tasks, most similar first. Raises UsageError if there are no tasks."""
    if not tasks:
        raise UsageError("no intermediate task has English rows available", fix="name it with --tasks")
    on = trained_card(target, data)
    own_D = look.states(on, english_rows(on, data, count)[1])[0].mean(axis=0)
    found = []
    for task in tasks:
        split, rows = english_rows(task, data, count)
        other_D = look.states(task, rows)[0].mean(axis=0)
        cosine = own_D @ other_D / (np.linalg.norm(own_D) * np.linalg.norm(other_D))
        found.append(Ranked(task.name, len(rows), split, float(cosine)))
    return sorted(found, key=lambda one: -one.value)


def by_evidence(folders: Mapping[str, Path], target: str, data: DataFolder, count: int, threads: int) -> list[Ranked]:
    """The encoders in these folders (name -> folder), highest LogME of the target's labels first. Raises UsageError if
    rows do not have a single label each."""
    on = trained_card(target, data)
    split, rows = english_rows(on, data, count)
    targets_NC = _targets(on, rows)
    found = []
    for name, folder in folders.items():
        states_ND, at_N = Look(folder, threads).states(on, rows)
        found.append(Ranked(name, len(rows), split, log_evidence(states_ND, targets_NC[at_N])))
    return sorted(found, key=lambda one: -one.value)


def _targets(card: Task, rows: Sequence[Row]) -> NDArray[Any]:
    """(N, C) one-hot labels, or (N, 1) numbers."""
    if not all(row.is_labelled for row in rows):
        raise DataError(f"{card.name} train has rows without a label")
    gold = [row.gold for row in rows]
    if all(isinstance(one, float) for one in gold):
        return np.array(gold)[:, None]
    if not all(isinstance(one, str) for one in gold):
        raise UsageError(
            f"rows of {card.name} have no single label, which LogME needs",
            fix="name one encoder, to order intermediate tasks, or another target",
        )
    labels = sorted(map(str, set(gold)))
    return np.array([[one == label for label in labels] for one in gold], dtype=np.float64)
