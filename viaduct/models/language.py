"""The masked-LM head: scores over the vocabulary, at masked positions only, in chunks.

Shape letters: M masked positions, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.utils.checkpoint import checkpoint

from viaduct.errors import UsageError
from viaduct.models.encoder import width, word_embeddings
from viaduct.models.linear import OneDNNLinear, product
from viaduct.runs.encoder import hub_options
from viaduct.runs.families import ROBERTA

LANGUAGE_HEAD_FILE = "masked_language_head.safetensors"
NEW = "new: word embeddings and a bias of zeros"
"""Origin of a head that the encoder did not have."""

CHUNK_ROWS = 1024
"""Masked positions whose vocabulary logits are in memory at the same time."""

PROBABILITY_ROWS = 64
"""How many of those have their probabilities in memory as well."""


class MaskedLanguageHead(nn.Module):
    """Scores over the vocabulary from the token embedding's own rows and a bias, as in XLM (arXiv 1901.07291).

    RoBERTa's extra dense layer before it slows small models' learning: after 0.6 M tokens of the miniature world a
    4x128 encoder was at 5.1 nats with it and at 4.0 without. Pretrained encoders that have one (`width`) keep it.
    """

    def __init__(self, vocabulary: int, width: int | None = None) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dense = None if width is None else OneDNNLinear(width, width)
        self.norm = None if width is None else nn.LayerNorm(width, eps=1e-5)

    def forward(
        self,
        hidden_MD: torch.Tensor,
        embedding_VD: torch.Tensor,
        targets_M: torch.Tensor,
        *,
        smoothing: float = 0.0,
    ) -> torch.Tensor:
        """The cross-entropy summed over these positions. Chunks are recomputed in the backward pass, so memory does not
        grow with M."""
        parts = []
        for at in range(0, len(targets_M), CHUNK_ROWS):
            part = (hidden_MD[at : at + CHUNK_ROWS], embedding_VD, targets_M[at : at + CHUNK_ROWS], smoothing)
            if len(targets_M) > CHUNK_ROWS and torch.is_grad_enabled():
                parts.append(checkpoint(self._chunk, *part, use_reentrant=False))
            else:
                parts.append(self._chunk(*part))
        return sum(parts[1:], parts[0]) if parts else hidden_MD.sum()  # 0, with a gradient of 0

    def logits(self, hidden_MD: torch.Tensor, embedding_VD: torch.Tensor) -> torch.Tensor:
        """(M, V): all scores, not in chunks."""
        if self.dense is not None and self.norm is not None:
            hidden_MD = self.norm(torch.nn.functional.gelu(self.dense(hidden_MD)))
        return product(hidden_MD, embedding_VD, self.bias).float()

    def _chunk(
        self,
        hidden_MD: torch.Tensor,
        embedding_VD: torch.Tensor,
        targets_M: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        logits_MV = self.logits(hidden_MD, embedding_VD)
        if torch.is_grad_enabled():
            loss: torch.Tensor = _SummedCrossEntropy.apply(logits_MV, targets_M, smoothing)  # type: ignore[no-untyped-call]
            return loss
        return cross_entropy(logits_MV, targets_M, reduction="sum", label_smoothing=smoothing)


class _SummedCrossEntropy(torch.autograd.Function):
    """`cross_entropy(..., reduction="sum")` that overwrites the logits with their gradient in place: torch's own holds
    four matrices of that size."""

    @staticmethod
    def forward(ctx: Any, logits_MV: torch.Tensor, targets_M: torch.Tensor, smoothing: float) -> torch.Tensor:
        gradient_MV = logits_MV.detach()
        even = smoothing / logits_MV.shape[1]
        loss = logits_MV.new_zeros(())
        for at in range(0, len(targets_M), PROBABILITY_ROWS):
            part_KV, target_K1 = gradient_MV[at : at + PROBABILITY_ROWS], targets_M[at : at + PROBABILITY_ROWS, None]
            log_KV = log_softmax(part_KV, dim=1)
            loss -= (1 - smoothing) * log_KV.gather(1, target_K1).sum()
            if smoothing:
                loss -= even * log_KV.sum()
            torch.exp(log_KV, out=part_KV).sub_(even)
            part_KV.scatter_add_(1, target_K1, part_KV.new_full(target_K1.shape, smoothing - 1))
        ctx.save_for_backward(gradient_MV)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient_MV,) = ctx.saved_tensors
        return gradient_MV.mul_(scale), None, None


Guesses = Callable[[torch.Tensor], torch.Tensor]
"""States (M, D) -> logits (M, V)."""


def divergence(
    now: tuple[Guesses, torch.Tensor], then: tuple[Guesses, torch.Tensor], temperature: float = 1.0
) -> torch.Tensor:
    """Summed KL(then || now) of the guesses at these positions, in nats; `now` and `then` are a head and its states.

    Both logits are first divided by the temperature. Chunks are recomputed in the backward pass, so memory does not
    grow with M.
    """

    def chunk(now_MD: torch.Tensor, then_MD: torch.Tensor) -> torch.Tensor:
        now_MV = log_softmax(now[0](now_MD) / temperature, dim=1)
        then_MV = log_softmax(then[0](then_MD) / temperature, dim=1)
        return kl_div(now_MV, then_MV, reduction="sum", log_target=True)

    total = now[1].new_zeros(())
    for at in range(0, len(now[1]), CHUNK_ROWS):
        part = (now[1][at : at + CHUNK_ROWS], then[1][at : at + CHUNK_ROWS])
        total = total + checkpoint(chunk, *part, use_reentrant=False)
    return total


def save_language_head(head: MaskedLanguageHead, folder: Path) -> None:
    """Write the head into the folder."""
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()},
        folder / LANGUAGE_HEAD_FILE,
    )


def load_language_head(
    source: str, revision: str | None, stage: Path | None, encoder: nn.Module
) -> tuple[MaskedLanguageHead, str]:
    """(the encoder's own masked-LM head, its origin): from the stage that made the encoder, or from the checkpoint.

    If there is none (a fine-tuned encoder, or an architecture whose head has another form), it starts with the word
    embeddings and a bias of zeros. Raises UsageError if the word embeddings are not as wide as the encoder's states, so
    that they cannot serve as the head's.
    """
    words_VD = word_embeddings(encoder)
    config: Any = encoder.config
    if words_VD.shape[1] != width(encoder):
        raise UsageError(
            f"the word embeddings of an encoder of type '{config.model_type}' differ in width from its states, so they"
            " cannot score masked words",
            fix="leave out `replay`, objectives that fill in or write words, and `logits` of a distillation",
        )
    head = MaskedLanguageHead(words_VD.shape[0])
    if stage is not None and (stage / LANGUAGE_HEAD_FILE).is_file():
        head = _with_state(load_file(stage / LANGUAGE_HEAD_FILE), words_VD)
        return head, "of the stage that made the encoder"
    if config.model_type in ROBERTA:
        found = _from_checkpoint(source, revision, words_VD)
        if found is not None:
            return found, "of the checkpoint"
    return head, NEW


def _from_checkpoint(source: str, revision: str | None, words_VD: torch.Tensor) -> MaskedLanguageHead | None:
    from transformers import AutoModelForMaskedLM

    model, info = AutoModelForMaskedLM.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **hub_options(source, revision)
    )
    if any(name.startswith("lm_head.") and "decoder" not in name for name in info["missing_keys"]):
        return None
    names = {"bias": "bias", "dense": "dense", "layer_norm": "norm"}
    state = {}
    for name, tensor in model.lm_head.state_dict().items():
        first, _, rest = name.partition(".")
        if first in names:
            state[f"{names[first]}.{rest}" if rest else names[first]] = tensor.detach().clone()
    return _with_state(state, words_VD)


def _with_state(state: dict[str, torch.Tensor], words_VD: torch.Tensor) -> MaskedLanguageHead:
    head = MaskedLanguageHead(words_VD.shape[0], words_VD.shape[1] if "dense.weight" in state else None)
    head.load_state_dict(state)
    return head
