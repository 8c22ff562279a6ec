"""What use an encoder makes of images, on captions that were held out: losses with the true, a wrong and no image,
captions written, images found.

A stage that was shown the images and makes no use of them costs the same with a wrong one: the *image gain*, loss with
a wrong image less loss with the true one, is then 0, and whatever the stage changed is not owed to what is in images.

Shape letters: B captions, K beams or a part of the predicted tokens, L text tokens, M predicted tokens, V vocabulary,
N images, E common width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Array
from viaduct.models.joint import SPACE, JointModel
from viaduct.models.language import CHUNK_ROWS
from viaduct.models.numerics import seed_all
from viaduct.vision.captioning import CaptionBatch, CaptionOrder, deranged
from viaduct.vision.objectives import Asking, filled, written
from viaduct.vision.records import CaptionLoss

BATCH_CAPTIONS = 32
LONGEST = 32
"""Tokens of a written caption at most."""
BEAMS = 5
LENGTH_PENALTY = 0.8
"""Exponent of the length by which a finished caption's log-probability is divided (arXiv 1609.08144, section 7)."""

MEASURED = ("ar_caption", "mlm_caption")
"""Objectives with a loss per caption token, in order of preference."""


@dataclass(frozen=True)
class Held:
    """Held-out captions: `chosen` are the ones measured."""

    order: CaptionOrder
    chosen: Array
    pad_id: int

    def batches(self, shown_of: Array | None) -> Iterator[tuple[Array, CaptionBatch]]:
        """(captions, batch) over the chosen ones; `shown_of` (images,) is what is shown for each, None the null image.

        Features are those of the tower in every arm, whatever stood for images in training.
        """
        data, features = self.order.data, self.order.features
        for at in range(0, len(self.chosen), BATCH_CAPTIONS):
            examples = self.chosen[at : at + BATCH_CAPTIONS]
            image_B = data.image_of[examples]
            ids = [] if shown_of is None else [self.order.ids[one] for one in shown_of[image_B]]
            yield (
                examples,
                CaptionBatch(
                    objective="",
                    text=collate(self.order.encoded, examples, self.pad_id),
                    image_B=torch.from_numpy(image_B),
                    language_B=torch.from_numpy(data.language_of[examples]),
                    patches_BPV=torch.from_numpy(features.tokens(ids)) if ids else None,
                    pooled_BV=torch.from_numpy(features.pooled(ids)) if ids else None,
                    other=None,
                    bank_KV=None,
                    visual=features.num_tokens,
                ),
            )


def measured_objective(names: Sequence[str]) -> str | None:
    """The objective whose loss per token is measured, None where there is none."""
    return next((name for name in MEASURED if name in names), None)


@torch.inference_mode()
def losses(asking: Asking, model: JointModel, held: Held, objective: str) -> list[CaptionLoss]:
    """One entry per chosen caption; the same masks whatever is shown. In arms without images all three are equal."""
    count = len(held.order.ids)
    shown: dict[str, Array | None] = {"true": np.arange(count), "wrong": deranged(count, 0), "null": None}
    sums: dict[str, list[float]] = {name: [] for name in shown}
    right: dict[str, list[int]] = {name: [] for name in shown}
    tokens: list[int] = []
    for name, shown_of in shown.items():
        for examples, batch in held.batches(shown_of):
            seed_all("held out", int(examples[0]))
            nats, guessed, counts = _per_caption(asking, model, batch, objective)
            sums[name] += nats
            right[name] += guessed
            tokens += counts if name == "true" else []
    captions = held.order.data.captions
    return [
        CaptionLoss(
            id=captions[at].id,
            image=held.order.ids[int(held.order.data.image_of[at])],
            language=captions[at].language,
            tokens=tokens[number],
            true=sums["true"][number],
            wrong=sums["wrong"][number],
            null=sums["null"][number],
            right_true=right["true"][number],
            right_wrong=right["wrong"][number],
        )
        for number, at in enumerate(held.chosen.tolist())
    ]


def _per_caption(
    asking: Asking, model: JointModel, batch: CaptionBatch, objective: str
) -> tuple[list[float], list[int], list[int]]:
    """By caption: nats, tokens guessed right, tokens."""
    batch = batch.to(next(model.parameters()).device)
    if objective == "ar_caption":
        hidden_BLD, targets_BL, real_BL = written(asking, model, batch, train=False)
        hidden_MD, targets_M, caption_M = hidden_BLD[real_BL], targets_BL[real_BL], real_BL.nonzero()[:, 0]
    else:
        hidden_MD, targets_M, caption_M = filled(asking, model, batch, train=False)
    count = len(batch.image_B)
    nats_B = torch.zeros(count, device=hidden_MD.device)
    right_B, tokens_B = torch.zeros_like(nats_B, dtype=torch.long), torch.bincount(caption_M, minlength=count)
    parts = (torch.split(one, CHUNK_ROWS) for one in (hidden_MD, targets_M, caption_M))
    for hidden_KD, targets_K, caption_K in zip(*parts, strict=True):
        logits_KV = model.language.logits(hidden_KD, model.words_VD)
        nats_B.index_add_(0, caption_K, cross_entropy(logits_KV, targets_K, reduction="none"))
        right_B += torch.bincount(caption_K[logits_KV.argmax(1) == targets_K], minlength=count)
    return nats_B.tolist(), right_B.tolist(), tokens_B.tolist()


@torch.inference_mode()
def write(
    asking: Asking, model: JointModel, held: Held, tokenizer: Any, progress: Callable[[float, float, str], None]
) -> list[str]:
    """A caption for each chosen caption's image, in its language, by beam search with the true image."""
    texts: list[str] = []
    device = next(model.parameters()).device
    for _, batch in held.batches(np.arange(len(held.order.ids))):
        for row in range(len(batch.image_B)):
            one = _row(batch, row).to(device)
            ids = beam_search(asking, model, one, tokenizer)
            texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
            progress(len(texts), len(held.chosen), f"writing captions, {len(texts):,} of {len(held.chosen):,}")
    return texts


def _row(batch: CaptionBatch, row: int) -> CaptionBatch:
    part = slice(row, row + 1)
    return replace(
        batch,
        image_B=batch.image_B[part],
        language_B=batch.language_B[part],
        patches_BPV=None if batch.patches_BPV is None else batch.patches_BPV[part],
        pooled_BV=None,
    )


def beam_search(
    asking: Asking, model: JointModel, image: CaptionBatch, tokenizer: Any, beams: int = BEAMS
) -> list[int]:
    """Ids of the best caption of one image, without its first special token: each next token is what a mask token in
    its place predicts, exactly as in training. One beam is greedy decoding."""
    begin, end = int(image.text.ids_BL[0, 0]), int(tokenizer.eos_token_id or tokenizer.sep_token_id)
    blocked = [one for one in tokenizer.all_special_ids if one != end]
    device = image.image_B.device
    ids_KL = torch.tensor([[begin]], device=device)
    scores_K = torch.zeros(1, device=device)
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, LONGEST + 1):
        hidden_KD = _next_states(asking, model, image, ids_KL)
        logits_KV = model.language.logits(hidden_KD, model.words_VD)
        logits_KV[:, blocked] = -torch.inf
        total_KV = scores_K[:, None] + log_softmax(logits_KV, dim=1)
        best, flat = total_KV.flatten().topk(min(2 * beams, total_KV.numel()))
        kept: list[tuple[float, list[int]]] = []
        for rank, (score, at) in enumerate(zip(best.tolist(), flat.tolist(), strict=True)):
            sequence = [*ids_KL[at // total_KV.shape[1]].tolist(), at % total_KV.shape[1]]
            if score == -math.inf:
                break  # blocked, as all that follow
            if sequence[-1] != end:
                kept += [(score, sequence)] if len(kept) < beams else []
            elif rank < beams:  # else others that go on are better, and captions would be cut short
                finished.append((score / length**LENGTH_PENALTY, sequence[1:-1]))
        if len(finished) >= beams or not kept:
            break
        ids_KL = torch.tensor([sequence for _, sequence in kept], device=device)
        scores_K = torch.tensor([score for score, _ in kept], device=device)
    if not finished:
        finished = [(scores_K.tolist()[0], ids_KL[0].tolist()[1:])]
    return max(finished, key=lambda one: one[0])[1]


def _next_states(asking: Asking, model: JointModel, image: CaptionBatch, ids_KL: torch.Tensor) -> torch.Tensor:
    """(K, D): the states that predict the token after these."""
    count = len(ids_KL)
    extended = torch.cat([ids_KL, ids_KL[:, -1:]], dim=1)  # the last one is seen by nobody: only its mask token counts
    text = Batch(extended, None, None, np.arange(count), extended.numel())
    patches = image.patches_BPV
    one = replace(
        image,
        text=text,
        image_B=image.image_B.expand(count),
        language_B=image.language_B.expand(count),
        patches_BPV=None if patches is None else patches.expand(count, *patches.shape[1:]),
    )
    hidden_KLD, _, _ = written(asking, model, one, train=False)
    return hidden_KLD[:, -1]


@torch.inference_mode()
def similarities(asking: Asking, model: JointModel, held: Held) -> Array | None:
    """(chosen captions, all held-out images) cosines in the common space; None where the stage has none."""
    if SPACE not in model.head or asking.captions.image == "text":
        return None
    texts = []
    for _, batch in held.batches(None):
        pooled_BD = model.pooled(batch.text.to(next(model.parameters()).device), asking.special_V)
        texts.append(model.space.of_text(pooled_BD).cpu())
    device, features, ids = next(model.parameters()).device, held.order.features, held.order.ids
    images = []
    for at in range(0, len(ids), BATCH_CAPTIONS):
        part = ids[at : at + BATCH_CAPTIONS]
        if asking.captions.tower_layers:
            seen_BV = model.visual(torch.from_numpy(features.tokens(part)).to(device)).amax(1)
        else:
            seen_BV = torch.from_numpy(features.pooled(part)).to(device)
        images.append(model.space.of_image(seen_BV).cpu())
    found: Array = (torch.cat(texts) @ torch.cat(images).T).numpy()
    return found
