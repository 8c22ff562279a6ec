"""Sentence vectors: the pooled states of one or several layers, from one pass, kept in files from which a stage can be
resumed.

No layer above the highest requested one is computed. Shape letters: B sequences, L tokens, D width, N sentences.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from viaduct.encode.batch import Batch, collate, plan_batches
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import UsageError
from viaduct.models.encoder import encode_layers, num_layers, width
from viaduct.models.layers import keep_layers
from viaduct.models.numerics import fetched, require_finite
from viaduct.models.sentences import SentenceModules, pool
from viaduct.results.writing import write_atomic
from viaduct.runs.sizes import PREDICTION_TOKENS


@dataclass(frozen=True)
class Embedding:
    """What to pool, and where vectors are kept: a folder used only for these sentences and this encoder."""

    layers: tuple[int, ...]
    pooling: str
    folder: Path
    checkpoint_seconds: float
    makers: SentenceModules | None = None
    """The makers' modules, for vectors made by them from the last layer, in addition to those of `layers`."""


Level = int | str
"""Number of a pooled layer, or `MAKERS`."""
MAKERS = "makers"


class _Way(NamedTuple):
    """How the vectors of a level are made: from which layer, how wide, and by which function."""

    layer: int
    width: int
    made: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


def _ways(encoder: nn.Module, how: Embedding) -> dict[Level, _Way]:
    def pooled(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        return pool(hidden_BLD, mask_BL, how.pooling)

    ways: dict[Level, _Way] = {layer: _Way(layer, width(encoder), pooled) for layer in how.layers}
    if how.makers is not None:
        ways[MAKERS] = _Way(num_layers(encoder), how.makers.width, how.makers)
    return ways


def checked_layers(encoder: nn.Module, layers: Sequence[int] | str | None) -> tuple[int, ...]:
    """The layers to pool (0 = embeddings). None means the one two thirds up (sentence alignment of encoders trained
    only on text peaks there, not at the top), "all" means every one.

    Raises UsageError for a layer that the encoder does not have, and for an empty list.
    """
    most = num_layers(encoder)
    if layers is None:
        return (max(1, round(most * 2 / 3)),)
    if isinstance(layers, str):
        return tuple(range(most + 1))
    if not layers:
        raise UsageError("no layer to pool was given", fix="name one or more, or leave `layers` out")
    for layer in layers:
        if not 0 <= layer <= most:
            raise UsageError(f"layer {layer} was requested; the encoder has layers 0 (embeddings) to {most}")
    return tuple(dict.fromkeys(layers))


def embed(
    encoder: nn.Module,
    encoded: Encoded,
    pad_id: int,
    how: Embedding,
    progress: Callable[[float, float, str], None],
    engine: Callable[[Batch], torch.Tensor] | None = None,
    name: Callable[[int], str] = lambda at: f"sentence {at:,}",
) -> dict[Level, torch.Tensor]:
    """Level -> (N, D) float32 vectors of unit length, memory-mapped: pooled, or made by the makers' modules.

    An `engine` runs in place of the encoder and returns the states of the one requested layer. Batches that an earlier
    attempt saved in the folder are not computed again. Raises NumbersError for a vector without a finite length, naming
    its sentence by `name`.
    """
    device = next(encoder.parameters()).device
    ways = _ways(encoder, how)
    keep_layers(encoder, max(way.layer for way in ways.values()))
    files = {level: (how.folder / f"layer-{level}.f32", (len(encoded), way.width)) for level, way in ways.items()}
    vectors = {level: _open(*file) for level, file in files.items()}
    batches = plan_batches(encoded.lengths, encoded.widths, PREDICTION_TOKENS, None)
    state = how.folder / "embedded.json"
    finished, digest = _finished(tuple(vectors.values()), state, batches)
    tokens, saved = int(encoded.offsets[-1]), time.monotonic()
    lengths = np.diff(encoded.offsets)
    done = sum(int(lengths[examples].sum()) for examples in batches[:finished])
    with torch.inference_mode():
        made = (collate(encoded, examples, pad_id) for examples in batches[finished:])
        outputs = ((one, _unit_vectors(encoder, one.to(device), ways, engine)) for one in made)
        for number, (batch, unit_BX) in enumerate(fetched(outputs), start=finished + 1):
            examples, names = batch.examples, [name(at) for at in batch.examples]
            parts = torch.split(unit_BX, [way.width + 1 for way in ways.values()], dim=1)
            for (level, way), part_BX in zip(ways.items(), parts, strict=True):
                what = f"vector's length in layer {way.layer}"
                require_finite(part_BX[:, -1], what, names.__getitem__)
                vectors[level][examples] = part_BX[:, :-1].numpy()
                digest.update(vectors[level][examples].tobytes())
            done += batch.tokens
            progress(done, tokens, f"embedding, {done:,} of {tokens:,} tokens")
            if time.monotonic() - saved >= how.checkpoint_seconds:
                _save(vectors.values(), state, number, digest.hexdigest())
                saved = time.monotonic()
    _save(vectors.values(), state, len(batches), digest.hexdigest())  # what follows may be interrupted too
    # Reopened copy-on-write: changes to the arrays must never reach the files, which are needed for resuming.
    return {
        level: torch.from_numpy(np.memmap(path, np.float32, "c", shape=shape)) for level, (path, shape) in files.items()
    }


def _unit_vectors(
    encoder: nn.Module, batch: Batch, ways: Mapping[Level, _Way], engine: Callable[[Batch], torch.Tensor] | None
) -> torch.Tensor:
    """(B, sum of widths + 1 each) on the device: each level's vectors of unit length, and their original lengths."""
    needed = tuple(dict.fromkeys(way.layer for way in ways.values()))
    found = [engine(batch)] if engine is not None else encode_layers(encoder, batch, needed)
    states = dict(zip(needed, found, strict=True))
    made = [way.made(states[way.layer], batch.mask_BL).float() for way in ways.values()]
    return torch.cat([part for one_BD in made for part in (normalize(one_BD, dim=1), one_BD.norm(dim=1)[:, None])], 1)


def _open(path: Path, shape: tuple[int, int]) -> np.memmap:
    """The file as a writable array; a file of the wrong size is created anew."""
    whole = path.is_file() and path.stat().st_size == 4 * shape[0] * shape[1]
    if not whole:
        with path.open("wb") as file:  # allocated in full now: writing to the map on a full disk would kill the process
            os.posix_fallocate(file.fileno(), 0, 4 * shape[0] * shape[1])
    return np.memmap(path, dtype=np.float32, mode="r+", shape=shape)


def _save(vectors: Iterable[np.memmap], state: Path, batches: int, sha256: str) -> None:
    for array in vectors:
        array.flush()
    write_atomic(state, json.dumps({"batches": batches, "sha256": sha256}))


def _finished(vectors: Sequence[np.memmap], state: Path, batches: Sequence[Array]) -> tuple[int, Any]:
    """(batches saved by an earlier attempt, hash of their vectors); 0 batches unless all vectors are as saved."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(state.read_text())
        for examples in batches[: told["batches"]]:
            for array in vectors:
                digest.update(array[examples].tobytes())
        if told["sha256"] == digest.hexdigest():
            return told["batches"], digest
    return 0, hashlib.sha256()


def centre(vectors_ND: torch.Tensor) -> None:
    """Subtract the mean in place and normalise the vectors to unit length again."""
    mean_D = vectors_ND.mean(dim=0)
    for at in range(0, len(vectors_ND), 4096):
        part_ND = vectors_ND[at : at + 4096]
        part_ND.copy_(normalize(part_ND - mean_D, dim=1))
