"""The Predict stage for retrieval (Tatoeba) and mining (BUCC): sentence vectors, neighbours, margins.

No head and no training: the encoder's states of one layer are pooled. Nothing above that layer is computed.
Shape letters: B sequences, L tokens, D width, N sentences.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import collate, padding_fraction, plan_batches
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits
from viaduct.errors import DataError, UsageError
from viaduct.inference.neighbours import nearest_both_ways
from viaduct.metrics.retrieval import bucc_threshold
from viaduct.models.encoder import (
    encode_batch,
    forward_flops,
    keep_layers,
    load_encoder,
    load_tokenizer,
    longest_input,
    num_layers,
    width,
)
from viaduct.models.numerics import prepare
from viaduct.rows import Row, Sentence
from viaduct.runs.stage import Context, PredictWork, Spent
from viaduct.tasks.card import Task

BATCH_TOKENS = 8192

NEIGHBOURHOOD = 4
"""k of the margin, as XTREME's BUCC script has it (third_party/utils_retrieve.py at 838c13b)."""


def run(context: Context, card: Task) -> Spent:
    """Predict every language and leave `predictions/LL.jsonl`; mining also leaves its dev thresholds in
    `choices.json`."""
    work = context.work
    assert isinstance(work, PredictWork) and context.encoder is not None  # noqa: S101  the executor's contract
    device = prepare(context.device, context.threads)
    tokenizer = load_tokenizer(context.encoder, context.revision)
    encoder = load_encoder(context.encoder, context.revision).to(device).eval()
    layer = check_layer(encoder, work.layer)
    limits = Limits(min(work.max_length, longest_input(encoder)))
    splits = [work.split, "dev"] if card.kind == "mining" else [work.split]
    sides = {
        (split, language): _sentences(context.load(card.name, split, language).rows)
        for language in work.languages
        for split in dict.fromkeys(splits)
    }
    rows = [row for part in sides.values() for row in part]
    context.progress(0, 1, "tokenising")
    encoded = cached(rows, tokenizer, (), limits, context.cache)
    vectors_ND = embed(encoder, encoded, tokenizer.pad_token_id, layer, work.pooling, context.progress)
    starts = dict(zip(sides, np.cumsum([0] + [len(part) for part in sides.values()]), strict=False))

    folder = context.directory / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    choices: dict[str, Any] = {}
    for language in work.languages:
        part = sides[work.split, language]
        start = int(starts[work.split, language])
        vectors = side_vectors(part, vectors_ND[start : start + len(part)], centre=work.centre)
        if card.kind == "retrieval":
            lines = match_lines(part, vectors)
        else:
            dev = sides["dev", language]
            dev_start = int(starts["dev", language])
            dev_vectors = vectors_ND[dev_start : dev_start + len(dev)]
            threshold = tune(dev, side_vectors(dev, dev_vectors, centre=work.centre))
            choices[language] = {"threshold": threshold, "tuned_on": "dev"}
            lines = mined_lines(part, mine(part, vectors), threshold)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{language}.jsonl").write_text(text, encoding="utf-8")
    if choices:
        (context.directory / "choices.json").write_text(json.dumps(choices, indent=1) + "\n", encoding="utf-8")
    lengths = np.diff(encoded.offsets)
    return Spent(
        tokens=int(lengths.sum()),
        padding_fraction=padding_fraction(
            encoded.lengths, encoded.widths, plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None)
        ),
        flops=forward_flops(encoder, int(lengths.sum()), int((lengths.astype(np.int64) ** 2).sum())),
        examples=len(rows),
    )


def _sentences(rows: Sequence[Row]) -> list[Sentence]:
    return [row for row in rows if isinstance(row, Sentence)]


def check_layer(encoder: nn.Module, layer: int | None) -> int:
    """The layer to pool, 0 = embeddings; None means two thirds up (sentence alignment peaks there, not at the top).

    Raises UsageError for a layer that the encoder does not have.
    """
    most = num_layers(encoder)
    if layer is None:
        return max(1, round(most * 2 / 3))
    if not 0 <= layer <= most:
        raise UsageError(f"layer {layer} was asked for; the encoder has layers 0 (embeddings) to {most}")
    return layer


def embed(
    encoder: nn.Module,
    encoded: Encoded,
    pad_id: int,
    layer: int,
    pooling: str,
    progress: Callable[[float, float, str], None],
) -> torch.Tensor:
    """(N, D) float32 vectors of unit length: the layer's states, mean over real tokens (or the first token's)."""
    device = next(encoder.parameters()).device
    truncated = keep_layers(encoder, layer)
    vectors_ND = torch.zeros(len(encoded), width(encoder))
    done, tokens = 0, int(encoded.offsets[-1])
    with torch.inference_mode():
        for examples in plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None):
            batch = collate(encoded, examples, pad_id).to(device)
            hidden_BLD = encode_batch(encoder, batch, None if truncated else layer)
            pooled_BD = hidden_BLD[:, 0] if pooling == "first" else _mean(hidden_BLD, batch.mask_BL)
            vectors_ND[torch.from_numpy(examples)] = torch.nn.functional.normalize(pooled_BD.float(), dim=1).cpu()
            done += batch.tokens
            progress(done, tokens, f"embedding, {done:,} of {tokens:,} tokens")
    return vectors_ND


def _mean(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
    if mask_BL is None:
        return hidden_BLD.mean(dim=1)
    weights_BL1 = mask_BL[..., None].to(hidden_BLD.dtype)
    return (hidden_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


def _split(rows: Sequence[Sentence]) -> tuple[list[int], list[int]]:
    """Positions of the source and of the target side."""
    source = [at for at, row in enumerate(rows) if row.side == "source"]
    target = [at for at, row in enumerate(rows) if row.side == "target"]
    return source, target


def side_vectors(rows: Sequence[Sentence], vectors_ND: torch.Tensor, *, centre: bool) -> torch.Tensor:
    """The vectors themselves, or (`centre`) each side's less the side's mean, of unit length again."""
    if not centre:
        return vectors_ND
    centred_ND = vectors_ND.clone()
    for side in _split(rows):
        centred_ND[side] -= centred_ND[side].mean(dim=0)
    return torch.nn.functional.normalize(centred_ND, dim=1)


def match_lines(rows: Sequence[Sentence], vectors_ND: torch.Tensor) -> list[dict[str, Any]]:
    """For every English sentence the id of the most similar sentence of the other language, and the cosine."""
    source, target = _split(rows)
    found, _ = nearest_both_ways(vectors_ND[target], vectors_ND[source], 1)
    return [
        {
            "id": rows[query].id,
            "language": rows[query].language,
            "prediction": rows[source[index]].id,
            "scores": [float(f"{value:.6g}")],
        }
        for query, index, value in zip(
            target, found.indices_NK[:, 0].tolist(), found.values_NK[:, 0].tolist(), strict=True
        )
    ]


def mine(rows: Sequence[Sentence], vectors_ND: torch.Tensor) -> list[tuple[float, str, str]]:
    """Candidate pairs (margin, source id, target id), best first, one to one.

    Ratio margin cos / ((mean of source's k + mean of target's k) / 2), candidates from both directions, greedy by
    margin (arXiv 1811.01136, "max"; XTREME third_party/utils_retrieve.py and bucc_eval at 838c13b). As there, a
    repeated text is one candidate, with the vector of its last line, and a pair is left out in the end when one of its
    texts, without blanks at its ends, has several ids: nothing says which of them is meant.
    """
    source, target = (_distinct(rows, positions) for positions in _split(rows))
    if not source or not target:
        return []
    forward, backward = nearest_both_ways(vectors_ND[source], vectors_ND[target], NEIGHBOURHOOD)
    mean_forward, mean_backward = forward.values_NK.mean(dim=1), backward.values_NK.mean(dim=1)
    margin_forward = forward.values_NK / ((mean_forward[:, None] + mean_backward[forward.indices_NK]) / 2)
    margin_backward = backward.values_NK / ((mean_backward[:, None] + mean_forward[backward.indices_NK]) / 2)
    best_forward, best_backward = margin_forward.max(dim=1), margin_backward.max(dim=1)
    pairs = [
        (margin, at, int(forward.indices_NK[at, choice]))
        for at, (margin, choice) in enumerate(
            zip(best_forward.values.tolist(), best_forward.indices.tolist(), strict=True)
        )
    ] + [
        (margin, int(backward.indices_NK[at, choice]), at)
        for at, (margin, choice) in enumerate(
            zip(best_backward.values.tolist(), best_backward.indices.tolist(), strict=True)
        )
    ]
    ambiguous = set[int]().union(*(_ambiguous(rows, positions) for positions in _split(rows)))
    taken_source: set[int] = set()
    taken_target: set[int] = set()
    kept = []
    for margin, left, right in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if left not in taken_source and right not in taken_target:
            taken_source.add(left)
            taken_target.add(right)
            if source[left] not in ambiguous and target[right] not in ambiguous:
                kept.append((margin, rows[source[left]].id, rows[target[right]].id))
    return kept


def _distinct(rows: Sequence[Sentence], positions: Sequence[int]) -> list[int]:
    """The last position of every distinct text, in the order of the first ones."""
    return list({rows[at].text: at for at in positions}.values())


def _ambiguous(rows: Sequence[Sentence], positions: Sequence[int]) -> set[int]:
    """The positions whose text is that of another position too, blanks at the ends aside."""
    count = Counter(rows[at].text.strip() for at in positions)
    return {at for at in positions if count[rows[at].text.strip()] > 1}


def tune(rows: Sequence[Sentence], vectors_ND: torch.Tensor) -> float:
    """The margin threshold with the best F1 on these dev rows. Raises DataError when they have no gold pairs."""
    gold = {(row.id, match) for row in rows if row.side == "source" for match in row.match or ()}
    if not gold:
        raise DataError("the dev split has no gold pairs to tune the mining threshold on")
    return float(bucc_threshold(mine(rows, vectors_ND), gold).threshold)


def mined_lines(
    rows: Sequence[Sentence], pairs: Sequence[tuple[float, str, str]], threshold: float
) -> list[dict[str, Any]]:
    """For every source sentence the id of its mined translation, None where no pair reaches the threshold."""
    chosen = {source: (target, margin) for margin, source, target in pairs if margin >= threshold}
    lines = []
    for row in rows:
        if row.side == "source":
            target, margin = chosen.get(row.id, (None, None))
            scores = {} if margin is None else {"scores": [float(f"{margin:.6g}")]}
            lines.append({"id": row.id, "language": row.language, "prediction": target, **scores})
    return lines
