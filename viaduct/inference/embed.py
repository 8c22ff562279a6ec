"""Sentence vectors: the pooled states of one or several layers, from one pass, kept in files that a resumed stage
goes on with.

Nothing above the highest layer asked for is computed. Shape letters: B sequences, L tokens, D width, N sentences.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate, plan_batches
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import UsageError
from viaduct.inference.prediction import PREDICTION_TOKENS
from viaduct.models.encoder import encode_layers, keep_layers, num_layers, width
from viaduct.models.numerics import require_finite


@dataclass(frozen=True)
class Embedding:
    """What to pool, and where vectors are kept: a folder that belongs to these sentences and this encoder alone."""

    layers: tuple[int, ...]
    pooling: str
    folder: Path
    checkpoint_seconds: float


def checked_layers(encoder: nn.Module, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The layers to pool, 0 = embeddings; None means two thirds up (sentence alignment peaks there, not at the top).

    Raises UsageError for a layer that the encoder does not have, and for none at all.
    """
    most = num_layers(encoder)
    if layers is None:
        return (max(1, round(most * 2 / 3)),)
    if not layers:
        raise UsageError("no layer to pool was given", fix="name one or several, or leave `layers` out")
    for layer in layers:
        if not 0 <= layer <= most:
            raise UsageError(f"layer {layer} was asked for; the encoder has layers 0 (embeddings) to {most}")
    return tuple(dict.fromkeys(layers))


def embed(
    encoder: nn.Module,
    encoded: Encoded,
    pad_id: int,
    how: Embedding,
    progress: Callable[[float, float, str], None],
    engine: Callable[[Batch], torch.Tensor] | None = None,
    name: Callable[[int], str] = lambda at: f"sentence {at:,}",
) -> dict[int, torch.Tensor]:
    """Layer -> (N, D) float32 vectors of unit length, memory-mapped: mean over real tokens, or the first token's state.

    An `engine` that gives the states of the one layer asked for runs in the encoder's place. Batches that an earlier
    attempt had saved in the folder are not computed again. Raises NumbersError for a vector that has no finite length,
    with its sentence by `name`.
    """
    device = next(encoder.parameters()).device
    keep_layers(encoder, max(how.layers))
    paths = {layer: how.folder / f"layer-{layer}.f32" for layer in how.layers}
    vectors = {layer: _open(path, (len(encoded), width(encoder))) for layer, path in paths.items()}
    batches = plan_batches(encoded.lengths, encoded.widths, PREDICTION_TOKENS, None)
    state = how.folder / "embedded.json"
    finished = json.loads(state.read_text())["batches"] if state.is_file() else 0
    tokens, saved = int(encoded.offsets[-1]), time.monotonic()
    lengths = np.diff(encoded.offsets)
    done = sum(int(lengths[examples].sum()) for examples in batches[:finished])
    with torch.inference_mode():
        for number, examples in enumerate(batches[finished:], start=finished + 1):
            batch = collate(encoded, examples, pad_id).to(device)
            states = [engine(batch)] if engine is not None else encode_layers(encoder, batch, how.layers)
            for layer, hidden_BLD in zip(how.layers, states, strict=True):
                pooled_BD = hidden_BLD[:, 0] if how.pooling == "first" else _mean(hidden_BLD, batch.mask_BL)
                vectors[layer][examples] = _of_unit_length(pooled_BD.float(), layer, [name(at) for at in examples])
            done += batch.tokens
            progress(done, tokens, f"embedding, {done:,} of {tokens:,} tokens")
            if time.monotonic() - saved >= how.checkpoint_seconds:
                _save(vectors.values(), state, number)
                saved = time.monotonic()
    _save(vectors.values(), state, len(batches))  # what comes after may be broken off too
    shape = (len(encoded), width(encoder))
    # Reopened so that whatever is done to them never reaches the files, which are for going on.
    return {layer: torch.from_numpy(np.memmap(path, np.float32, "c", shape=shape)) for layer, path in paths.items()}


def _of_unit_length(pooled_BD: torch.Tensor, layer: int, names: Sequence[str]) -> Array:
    require_finite(pooled_BD.norm(dim=1).cpu(), f"vector's length in layer {layer}", names.__getitem__)
    unit_BD: Array = torch.nn.functional.normalize(pooled_BD, dim=1).cpu().numpy()
    return unit_BD


def _open(path: Path, shape: tuple[int, int]) -> np.memmap:
    """The file as an array that can be written; a file of another size is begun anew."""
    whole = path.is_file() and path.stat().st_size == 4 * shape[0] * shape[1]
    return np.memmap(path, dtype=np.float32, mode="r+" if whole else "w+", shape=shape)


def _save(vectors: Iterable[np.memmap], state: Path, batches: int) -> None:
    for array in vectors:
        array.flush()
    unfinished = state.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"batches": batches}), encoding="utf-8")
    unfinished.replace(state)


def _mean(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
    if mask_BL is None:
        return hidden_BLD.mean(dim=1)
    weights_BL1 = mask_BL[..., None].to(hidden_BLD.dtype)
    return (hidden_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


def centre(vectors_ND: torch.Tensor) -> None:
    """Subtract the mean in place, and make the vectors of unit length again."""
    mean_D = vectors_ND.mean(dim=0)
    for at in range(0, len(vectors_ND), 4096):
        part_ND = vectors_ND[at : at + 4096]
        part_ND.copy_(torch.nn.functional.normalize(part_ND - mean_D, dim=1))
