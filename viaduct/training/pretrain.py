"""The Pretrain stage: trains a tokenizer and an XLM-R-shaped encoder, by masked LM on text and translation LM on
parallel text.

It writes `encoder/` (config.json, model.safetensors, tokenizer.json, ...: opens with AutoModel and AutoTokenizer),
`training.json` (steps, losses), and `masked_language_head.safetensors`, for stages that continue with masked LM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.runs.census import Census
from viaduct.runs.gaps import pretrain_needs
from viaduct.runs.parts import Pretrain
from viaduct.runs.rows import Need
from viaduct.runs.sizes import BACKWARD, Estimate, Sizes, trained_tokens
from viaduct.runs.stage import StageKind, Work, in_languages


class PretrainWork(Work):
    """Train a tokenizer and an encoder on text."""

    kind: Literal["pretrain"] = "pretrain"
    pretrain: Pretrain
    languages: tuple[str, ...]
    """Resolved: the languages whose text is available."""


class PretrainKind(StageKind[PretrainWork]):
    """The kind of Pretrain stages."""

    name = "pretrain"
    work = PretrainWork
    version = 4
    function = "viaduct.training.pretraining:pretrain"
    leaves_encoder = True

    def needs(self, work: PretrainWork, census: Census) -> list[Need]:
        """The available train splits of text and parallel cards, in all requested languages."""
        return pretrain_needs(work.pretrain, (*work.pretrain.text, *work.pretrain.parallel), census)

    def label(self, work: PretrainWork) -> str:
        """The encoder's name and languages."""
        return f"pretrain {work.pretrain.name} {in_languages(work.languages)}"

    def forecast(self, work: PretrainWork, sizes: Sizes) -> Estimate:
        """The cost of training on every token, and of predicting some of them from the whole vocabulary."""
        training = work.pretrain.training
        rows, tokens = sizes.of(sizes.needs, training.max_length)
        trained = trained_tokens(tokens, rows, training)
        weight = trained * (1 + BACKWARD) * sizes.guessing(work.pretrain.mask_fraction)
        peak = sizes.training_bytes(training, tokens, mask_fraction=work.pretrain.mask_fraction)
        return Estimate(trained, weight, trained / training.batch_tokens, peak_bytes=peak)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The objective and the languages."""
        languages = work["languages"]
        return f"pretrained (masked words) on text in {len(languages)} languages: {' '.join(languages)}"


PRETRAIN = PretrainKind()
