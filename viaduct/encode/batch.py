"""Batches by token budget, from sequences of similar length.

Shape letters: B sequences in a batch, L tokens of the longest. A multiple-choice example is several sequences that stay
together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from viaduct.encode.tokens import Array, Encoded

WINDOW_BATCHES = 64
"""Training sorts by length within windows of this many batches: almost no padding, but still a random order."""

SHORTEST_SHARE = 0.95
"""Prediction: no example is shorter than this share of the longest in its batch, so padding stays below 5 %."""


def plan_batches(lengths: Array, widths: Array, batch_tokens: int, seed: int | None) -> list[Array]:
    """Example indices per batch; batch slots (longest x sequences) stay within `batch_tokens` unless one example
    exceeds it.

    With a seed: examples are shuffled, sorted by length within windows, and the batches shuffled, deterministically.
    Without (prediction): all are sorted by length, longest first, so that running out of memory shows immediately, and
    a new batch begins when rows get much shorter, so that small sets are not mostly padding.
    """
    if len(lengths) == 0:
        return []
    if seed is None:
        return _cut(np.lexsort((np.arange(len(lengths)), -lengths)), lengths, widths, batch_tokens, SHORTEST_SHARE)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    ends = np.cumsum((lengths * widths)[order])
    window_of = ends // (WINDOW_BATCHES * batch_tokens)
    batches: list[Array] = []
    for window in np.split(order, np.flatnonzero(np.diff(window_of)) + 1):
        by_length = window[np.argsort(-lengths[window], kind="stable")]
        batches.extend(_cut(by_length, lengths, widths, batch_tokens))
    return [batches[at] for at in generator.permutation(len(batches))]


def _cut(order: Array, lengths: Array, widths: Array, batch_tokens: int, shortest_share: float = 0.0) -> list[Array]:
    """The order cut into batches: within the budget, and no example shorter than this share of its batch's longest."""
    batches = []
    start = longest = sequences = 0
    for at, example in enumerate(order):
        length, width = int(lengths[example]), int(widths[example])
        too_many = max(longest, length) * (sequences + width) > batch_tokens
        if at > start and (too_many or length < shortest_share * longest):
            batches.append(order[start:at])
            start, longest, sequences = at, 0, 0
        longest = max(longest, length)
        sequences += width
    batches.append(order[start:])
    return batches


def padding_fraction(lengths: Array, widths: Array, batches: list[Array]) -> float:
    """Padding slots / all slots of these batches (each example's shorter sequences count as full)."""
    tokens = sum(int((lengths[batch] * widths[batch]).sum()) for batch in batches)
    slots = sum(int(lengths[batch].max() * widths[batch].sum()) for batch in batches)
    return 1.0 - tokens / slots if slots else 0.0


@dataclass(frozen=True)
class BatchSize:
    """The cost of a batch: real tokens, slots including padding, and the sum over sequences of the squared padded
    length, which determines the cost of attention."""

    tokens: int = 0
    slots: int = 0
    squares: int = 0

    def __add__(self, other: BatchSize) -> BatchSize:
        return BatchSize(self.tokens + other.tokens, self.slots + other.slots, self.squares + other.squares)


@dataclass(frozen=True)
class Batch:
    """One padded batch: ids_BL int64, mask_BL bool (None if nothing is padded), types_BL int64 or None.

    `examples` are the indices into the `Encoded` it was made from; `tokens` counts real tokens.
    """

    ids_BL: torch.Tensor
    mask_BL: torch.Tensor | None
    types_BL: torch.Tensor | None
    examples: Array
    tokens: int
    widths: Array | None = None
    """(examples,) sequences per example; None: one each."""
    share: float = 1.0
    """For a part of a batch: its tokens / those of the whole batch."""
    sent: Batch | None = None
    """The batch on the CPU from which this one was sent to a device."""

    @property
    def on_cpu(self) -> Batch:
        """The same batch on the CPU, without waiting for a device."""
        return self.sent or self

    @property
    def size(self) -> BatchSize:
        """The cost of the batch."""
        count, length = self.ids_BL.shape
        return BatchSize(self.tokens, count * length, count * length**2)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        mask_BL, types_BL = (None if one is None else moved(one, device) for one in (self.mask_BL, self.types_BL))
        sent = None if device.type == "cpu" else self.on_cpu
        return replace(self, ids_BL=moved(self.ids_BL, device), mask_BL=mask_BL, types_BL=types_BL, sent=sent)

    def take(self, at: Array) -> Batch:
        """A batch of the examples at these positions."""
        ends = np.arange(1, len(self.examples) + 1) if self.widths is None else np.cumsum(self.widths)
        widths = np.diff(ends, prepend=0)
        rows = torch.from_numpy(np.concatenate([np.arange(ends[one] - widths[one], ends[one]) for one in at]))
        ids_BL, mask_BL, types_BL = (rows_of(one, rows) for one in (self.ids_BL, self.mask_BL, self.types_BL))
        sent = None if self.sent is None else self.sent.take(at)
        tokens = ids_BL.numel() if mask_BL is None else int(mask_BL.sum()) if sent is None else sent.tokens
        own = None if self.widths is None else self.widths[at]
        share = tokens / max(1, self.tokens)
        return Batch(ids_BL, mask_BL, types_BL, self.examples[at], tokens, own, share, sent)

    def cut(self, count: int) -> list[Batch]:
        """The batch split into at most `count` parts."""
        return [self.take(at) for at in split(len(self.examples), count)]


def split(length: int, count: int) -> list[Array]:
    """0 .. length - 1 split into at most `count` runs of nearly equal length, none of them empty."""
    return np.array_split(np.arange(length), min(count, length))


def rows_of(tensor: torch.Tensor | None, rows: torch.Tensor) -> Any:
    """These rows of a tensor; None if the tensor is None."""
    return None if tensor is None else tensor[moved(rows, tensor.device)]


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device. Copies to a GPU go through pinned memory: then neither side waits for the other, and the
    next batch is made and sent while the last one is computed."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def collate(encoded: Encoded, examples: Array, pad_id: int) -> Batch:
    """The examples' sequences, padded to the longest of them."""
    sequences = (
        examples
        if len(encoded.offsets) == len(encoded.groups)
        else np.concatenate([np.arange(encoded.groups[at], encoded.groups[at + 1]) for at in examples])
    )
    starts, stops = encoded.offsets[sequences], encoded.offsets[sequences + 1]
    lengths = stops - starts
    longest = int(lengths.max())
    inside_BL = np.arange(longest)[None, :] < lengths[:, None]
    flat = np.concatenate([np.arange(start, stop) for start, stop in zip(starts, stops, strict=True)])
    return Batch(
        ids_BL=_padded(encoded.ids, flat, inside_BL, pad_id),
        mask_BL=None if inside_BL.all() else torch.from_numpy(inside_BL),
        types_BL=_padded(encoded.fields["types"], flat, inside_BL, 0) if "types" in encoded.fields else None,
        examples=examples,
        tokens=int(lengths.sum()),
        widths=None if sequences is examples else encoded.widths[examples],
    )


def _padded(values: Array, flat: Array, inside_BL: Array, fill: int) -> torch.Tensor:
    padded_BL: np.ndarray[Any, np.dtype[np.int64]] = np.full(inside_BL.shape, fill, dtype=np.int64)
    padded_BL[inside_BL] = values[flat]
    return torch.from_numpy(padded_BL)
