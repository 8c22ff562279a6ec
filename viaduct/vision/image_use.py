"""How an encoder uses images, measured on held-out captions: losses with the true, a wrong and no image, written
captions, retrieved images.

If a stage was shown images but does not use them, its loss is the same with a wrong one. The *image gain*, loss with a
wrong image minus loss with the true one, is then 0, and the content of the images cannot be why the encoder changed.

Shape letters: B captions, K beams or a part of the predicted tokens, L text tokens, M predicted tokens, V vocabulary,
N images, E common width.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Array
from viaduct.errors import DataError
from viaduct.metrics.score import Prediction, Score
from viaduct.models.language import CHUNK_ROWS
from viaduct.models.numerics import derived_seed, require_finite, seed_all
from viaduct.runs.stage import Progress
from viaduct.vision.caption_metrics import FEWEST_IMAGES, caption_retrieval, caption_scores
from viaduct.vision.captioning import CaptionBatch, CaptionOrder, CaptionSet, deranged
from viaduct.vision.images import open_picture
from viaduct.vision.objectives import SPACE, CaptionModel, CaptionObjectives
from viaduct.vision.records import CaptionLoss, CaptionSample, CaptionScore, ImageUse
from viaduct.vision.rows import Captioned

BATCH_CAPTIONS = 32
LONGEST_CAPTION = 32
"""Maximum number of tokens in a written caption."""
BEAMS = 5
LENGTH_PENALTY = 0.8
"""Exponent of the length by which a finished caption's log-probability is divided (arXiv 1609.08144, section 7)."""

MEASURED_OBJECTIVES = ("ar_caption", "mlm_caption")
"""Objectives with a loss per caption token, in order of preference."""


SAMPLES = 12
"""Number of held-out images shown with the captions written for them."""
THUMBNAIL = 96
"""Pixels on the longer side of a sample."""


def use_of_images(
    objectives: CaptionObjectives,
    model: CaptionModel,
    order: CaptionOrder,
    rows: Mapping[str, Sequence[Captioned]],
    tokenizer: Any,
    progress: Progress,
) -> ImageUse:
    """How the trained model uses the images in `order`, which are those of the dev rows.

    `rows` are those of train and dev: CIDEr-D takes from both which words are rare.
    """
    asked = objectives.captions
    names = tuple(one.name for one in asked.objectives)
    chosen = held_out_sample(order.data, asked.dev_captions)
    held = HeldOutCaptions(model, order, chosen, tokenizer.pad_token_id, objectives)
    objective = next((name for name in MEASURED_OBJECTIVES if name in names), None)
    losses = () if objective is None else tuple(held.losses(partial(held.per_caption, objective)))
    scores: list[CaptionScore] = []
    samples: tuple[CaptionSample, ...] = ()
    if "ar_caption" in names and asked.written:
        few = replace(held, chosen=held_out_sample(order.data, min(asked.written, len(chosen))))
        texts = few.write(tokenizer, progress)
        scores += few.written_scores(texts, rows)
        samples = tuple(few.samples(texts))
    found = held.similarities()
    if found is not None:
        scores += held.recall(found)
    return ImageUse(
        card=asked.card,
        split="dev",
        image=asked.image,
        tower=asked.tower,
        objectives=names,
        measured=objective,
        losses=losses,
        scores=tuple(scores),
        samples=samples,
        seen_languages=order.data.languages,
    )


def held_out_sample(data: CaptionSet, count: int) -> Array:
    """A fixed sample of `count` captions, spread as evenly over the languages as possible."""
    generator: Any = np.random.default_rng(derived_seed("held out", len(data.captions)))
    queues = [generator.permutation(np.flatnonzero(data.language_of == code)) for code in range(len(data.languages))]
    longest = max(len(queue) for queue in queues)
    taken = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return np.sort(np.array(taken[:count]))


Measured = tuple[float, int, int]
"""(nats, number predicted correctly, number predicted) of one text."""


@dataclass(frozen=True)
class HeldOut:
    """Texts that were not trained on, and the model measured on them; `chosen` are the indices of the texts used."""

    model: CaptionModel
    order: CaptionOrder
    chosen: Array
    pad_id: int

    @cached_property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.model.parameters()).device

    def batches(self, shown_of: Array | None) -> Iterator[tuple[Array, CaptionBatch]]:
        """(captions, batch) over the chosen ones; `shown_of` (images,): the image shown for each, None: the null image.

        Features are those of the tower in every arm, regardless of what was shown as the image in training.
        """
        data, features = self.order.data, self.order.features
        for at in range(0, len(self.chosen), BATCH_CAPTIONS):
            examples = self.chosen[at : at + BATCH_CAPTIONS]
            image_B = data.image_of[examples]
            batch = CaptionBatch(
                objective="",
                text=collate(self.order.encoded, examples, self.pad_id),
                image_B=torch.from_numpy(image_B),
                language_B=torch.from_numpy(data.language_of[examples]),
                patches_BPV=None if shown_of is None else torch.from_numpy(features.tokens(shown_of[image_B])),
                pooled_BV=None if shown_of is None else torch.from_numpy(features.pooled(shown_of[image_B])),
                other=None,
                bank_KV=None,
                visual=features.num_tokens,
            )
            yield examples, batch.to(self.device)

    @torch.inference_mode()
    def losses(self, measure: Callable[[CaptionBatch], list[Measured]]) -> list[CaptionLoss]:
        """One entry per chosen text, with the same masks for all images shown. In arms without images all three losses
        are equal. Raises NumbersError for a loss that is not finite: no caption could be written then either."""
        count = len(self.order.ids)
        shown: dict[str, Array | None] = {"true": np.arange(count), "wrong": deranged(count, 0), "null": None}
        found: dict[str, list[Measured]] = {name: [] for name in shown}
        for name, shown_of in shown.items():
            for examples, batch in self.batches(shown_of):
                seed_all("held out", int(examples[0]))
                found[name] += measure(batch)
        data = self.order.data
        nats_N3 = torch.tensor([[one[0] for one in shown] for shown in zip(*found.values(), strict=True)])
        require_finite(nats_N3, "loss", lambda at: f"text '{data.captions[self.chosen[at]].id}'")
        return [
            CaptionLoss(
                id=data.captions[at].id,
                image=self.order.ids[int(data.image_of[at])],
                language=data.captions[at].language,
                tokens=true[2],
                true=true[0],
                wrong=wrong[0],
                null=null[0],
                right_true=true[1],
                right_wrong=wrong[1],
                right_null=null[1],
            )
            for at, true, wrong, null in zip(self.chosen.tolist(), *found.values(), strict=True)
        ]


@dataclass(frozen=True)
class HeldOutCaptions(HeldOut):
    """Captions, and the stage's objectives."""

    objectives: CaptionObjectives

    def per_caption(self, objective: str, batch: CaptionBatch) -> list[Measured]:
        """(nats, tokens predicted correctly, tokens) of each caption."""
        states = self.objectives.written if objective == "ar_caption" else self.objectives.filled
        hidden_MD, targets_M, caption_M = states(self.model, batch, train=False)
        count = len(batch.image_B)
        nats_B = torch.zeros(count, device=hidden_MD.device)
        right_B, tokens_B = torch.zeros_like(nats_B, dtype=torch.long), torch.bincount(caption_M, minlength=count)
        parts = (torch.split(one, CHUNK_ROWS) for one in (hidden_MD, targets_M, caption_M))
        for hidden_KD, targets_K, caption_K in zip(*parts, strict=True):
            logits_KV = self.model.language.logits(hidden_KD, self.model.words_VD)
            nats_B.index_add_(0, caption_K, cross_entropy(logits_KV, targets_K, reduction="none"))
            right_B += torch.bincount(caption_K[logits_KV.argmax(1) == targets_K], minlength=count)
        return list(zip(nats_B.tolist(), right_B.tolist(), tokens_B.tolist(), strict=True))

    @torch.inference_mode()
    def write(self, tokenizer: Any, progress: Progress) -> list[str]:
        """A caption for each chosen caption's image, in its language, by beam search with the true image."""
        texts: list[str] = []
        for _, batch in self.batches(np.arange(len(self.order.ids))):
            for row in range(len(batch.image_B)):
                ids = beam_search(self.objectives, self.model, batch.take(np.array([row])), tokenizer)
                texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
                progress(len(texts), len(self.chosen), f"writing captions, {len(texts):,} of {len(self.chosen):,}")
        return texts

    @torch.inference_mode()
    def similarities(self) -> Array | None:
        """(chosen captions, all held-out images) cosines in the common space; None if the stage has none for images."""
        captions, model, features = self.objectives.captions, self.model, self.order.features
        if SPACE not in model.head or captions.image == "text":
            return None
        texts = [self.objectives.text_vectors(model, batch).cpu() for _, batch in self.batches(None)]
        images = []
        for at in range(0, len(self.order.ids), BATCH_CAPTIONS):
            part = np.arange(at, min(at + BATCH_CAPTIONS, len(self.order.ids)))
            if captions.tower_layers:
                seen_BPV = torch.from_numpy(features.tokens(part)).to(self.device)
                images.append(model.space.of_tokens(model.visual(seen_BPV)).cpu())
            else:
                images.append(model.space.of_image(torch.from_numpy(features.pooled(part)).to(self.device)).cpu())
        found: Array = (torch.cat(texts) @ torch.cat(images).T).numpy()
        return found

    def written_scores(self, texts: Sequence[str], rows: Mapping[str, Sequence[Captioned]]) -> list[CaptionScore]:
        """chrF, BLEU and CIDEr-D by language; CIDEr-D only if at least 100 images show which words are rare."""
        data, found = self.order.data, []
        for code in data.languages:
            given = {
                self.order.ids[int(data.image_of[at])]: text
                for at, text in zip(self.chosen.tolist(), texts, strict=True)
                if data.captions[at].language == code
            }
            gold = [row for row in rows["dev"] if row.language == code and row.id in given]
            if not gold:
                continue
            known = [row for split in ("dev", "train") for row in rows[split] if row.language == code]
            few = len({row.id for row in known}) < FEWEST_IMAGES
            predictions = {id: Prediction(id, code, text) for id, text in given.items()}
            scores = caption_scores(gold, predictions, documents=known, few_images=few)
            found += [_recorded(code, score) for score in scores if not (few and score.metric == "cider_d")]
        return found

    def recall(self, similarities_CN: Array) -> list[CaptionScore]:
        """How often a caption's image, and an image's caption, is found among the held-out ones in all languages."""
        images, owner = np.unique(self.order.data.image_of[self.chosen], return_inverse=True)
        scores = caption_retrieval(similarities_CN[:, images].T, owner.tolist())
        return [_recorded("all", score) for score in scores]

    def samples(self, texts: Sequence[str]) -> Iterator[CaptionSample]:
        """The first images with their captions, small enough for a page."""
        data = self.order.data
        for at, text in list(zip(self.chosen.tolist(), texts, strict=True))[:SAMPLES]:
            image = open_picture(data.pictures[int(data.image_of[at])][1])
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            file = io.BytesIO()
            image.save(file, format="PNG")
            uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
            caption = data.captions[at]
            yield CaptionSample(image=uri, language=caption.language, reference=caption.text, written=text)


def recall_by_language(
    objectives: CaptionObjectives, model: CaptionModel, order: CaptionOrder, pad_id: int
) -> list[CaptionScore]:
    """Recall in both directions for each language of `order`: one caption per image, on the same images in all
    languages, at most `dev_captions` of them.

    Raises DataError if no image has captions in all languages.
    """
    data = order.data
    first: list[dict[int, int]] = [{} for _ in data.languages]
    for at, (image, code) in enumerate(zip(data.image_of.tolist(), data.language_of.tolist(), strict=True)):
        first[code].setdefault(image, at)
    shared = sorted(set(first[0]).intersection(*first[1:]))
    if not shared:
        raise DataError(f"no held-out image has captions in all of {', '.join(data.languages)}", fix="name fewer")
    drawn = np.random.default_rng(derived_seed("searched", len(shared))).permutation(shared)
    images = np.sort(drawn[: objectives.captions.dev_captions])
    chosen = np.array([[own[image] for image in images.tolist()] for own in first])
    found = HeldOutCaptions(model, order, chosen.reshape(-1), pad_id, objectives).similarities()
    assert found is not None  # noqa: S101  the plan refuses such stages without a common space
    by_language = zip(data.languages, found[:, images].reshape(*chosen.shape, -1), strict=True)
    return [
        _recorded(code, score)
        for code, similarities_CN in by_language
        for score in caption_retrieval(similarities_CN.T, range(len(images)))
    ]


def _recorded(language: str, score: Score) -> CaptionScore:
    return CaptionScore(language=language, metric=score.metric, value=score.value, n=score.n, signature=score.signature)


def beam_search(
    objectives: CaptionObjectives, model: CaptionModel, image: CaptionBatch, tokenizer: Any, beams: int = BEAMS
) -> list[int]:
    """Token ids of the best caption for one image, without its first special token. Each next token is what a mask
    token in its place predicts, exactly as in training. One beam is greedy decoding."""
    begin, end = int(image.text.ids_BL[0, 0]), int(tokenizer.eos_token_id or tokenizer.sep_token_id)
    blocked = [one for one in tokenizer.all_special_ids if one != end]
    device = image.image_B.device
    ids_KL = torch.tensor([[begin]], device=device)
    scores_K = torch.zeros(1, device=device)
    finished: list[tuple[float, list[int]]] = []
    for length in range(1, LONGEST_CAPTION + 1):
        hidden_KD = _next_states(objectives, model, image, ids_KL)
        logits_KV = model.language.logits(hidden_KD, model.words_VD)
        logits_KV[:, blocked] = -torch.inf
        total_KV = scores_K[:, None] + log_softmax(logits_KV, dim=1)
        best, flat = total_KV.flatten().topk(min(2 * beams, total_KV.numel()))
        kept: list[tuple[float, list[int]]] = []
        for rank, (score, at) in enumerate(zip(best.tolist(), flat.tolist(), strict=True)):
            sequence = [*ids_KL[at // total_KV.shape[1]].tolist(), at % total_KV.shape[1]]
            if score == -math.inf:
                break  # blocked, like all that follow
            if sequence[-1] != end:
                kept += [(score, sequence)] if len(kept) < beams else []
            elif rank < beams:  # otherwise unfinished ones are better, and captions would be cut short
                finished.append((score / length**LENGTH_PENALTY, sequence[1:-1]))
        if len(finished) >= beams or not kept:
            break
        ids_KL = torch.tensor([sequence for _, sequence in kept], device=device)
        scores_K = torch.tensor([score for score, _ in kept], device=device)
    if not finished:
        finished = [(scores_K.tolist()[0], ids_KL[0].tolist()[1:])]
    return max(finished, key=lambda one: one[0])[1]


def _next_states(
    objectives: CaptionObjectives, model: CaptionModel, image: CaptionBatch, ids_KL: torch.Tensor
) -> torch.Tensor:
    """(K, D): the states that predict the next token of each beam."""
    count = len(ids_KL)
    extended = torch.cat([ids_KL, ids_KL[:, -1:]], dim=1)  # the last one is never seen: only its mask token counts
    patches = image.patches_BPV
    one = replace(
        image,
        text=Batch(extended, None, None, np.arange(count), extended.numel()),
        image_B=image.image_B.expand(count),
        language_B=image.language_B.expand(count),
        patches_BPV=None if patches is None else patches.expand(count, *patches.shape[1:]),
    )
    hidden_MD, _, _ = objectives.written(model, one, train=False)
    return hidden_MD.view(count, -1, hidden_MD.shape[1])[:, -1]
