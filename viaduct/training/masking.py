"""What is masked in masked-LM pretraining: single pieces, or whole words.

Shape letters: B sequences, L tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import category

import numpy as np
import torch

from viaduct.encode.batch import Batch, moved, rows_of, split
from viaduct.encode.tokens import Array
from viaduct.errors import UsageError
from viaduct.models.tokenizer import BLANK

NO_MASKS = "leave out `replay`, objectives that fill in words, and distillation: they need an encoder trained that way"

LONGEST_WORD = 3
"""Most pieces that are masked together: scripts without spaces would otherwise lose whole sentences."""


def places(chosen_BL: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, ...]:
    """(rows, columns) of the True positions, in order, on a device."""
    return tuple(moved(one, device) for one in chosen_BL.nonzero(as_tuple=True))


@dataclass(frozen=True)
class Masked:
    """Texts with their masks drawn: the input, and the positions to predict."""

    text: Batch
    ids_BL: torch.Tensor
    """Token ids without masks."""
    chosen_BL: torch.Tensor
    """Positions to predict; on the CPU."""
    count: int
    """Number of positions to predict in the whole batch, even if this is only part of one."""

    @property
    def at(self) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Index of the chosen positions in a (B, L, ...) tensor; counting them does not wait for a device."""
        device = self.text.ids_BL.device
        return self.chosen_BL if device.type == "cpu" else places(self.chosen_BL, device)

    def cut(self, count: int) -> list[Masked]:
        """These texts in at most `count` parts."""
        return [self.take(at) for at in split(len(self.ids_BL), count)]

    def take(self, at: Array) -> Masked:
        """The texts at these indices."""
        rows = torch.from_numpy(at)
        return Masked(self.text.take(at), rows_of(self.ids_BL, rows), rows_of(self.chosen_BL, rows), self.count)


@dataclass(frozen=True)
class Masking:
    """Chooses the positions to predict. `starts_V` marks pieces that begin a word; None: every piece on its own."""

    fraction: float
    mask_id: int
    special_V: torch.Tensor
    starts_V: torch.Tensor | None = None
    weights_V: torch.Tensor | None = None
    """Factor on `fraction` for how often a word is masked, by its first piece; None: the same for all words."""
    every_row: bool = False
    """Whether each sequence has at least one masked position; if not, each batch has."""

    @classmethod
    def of(
        cls,
        tokenizer: Any,
        fraction: float,
        *,
        whole_words: bool,
        weights_V: torch.Tensor | None = None,
        every_row: bool = False,
    ) -> Masking:
        """The masking for a tokenizer; `whole_words`: its words begin with "▁", and punctuation is a word of its own.

        Raises UsageError for a tokenizer that does not support it.
        """
        if tokenizer.mask_token_id is None:
            raise UsageError("words are to be masked, but the encoder's tokenizer has no mask token", fix=NO_MASKS)
        if whole_words and not any(piece.startswith(BLANK) for piece in tokenizer.get_vocab()):
            raise UsageError(
                f"whole words are to be masked, but no piece of the tokenizer begins with '{BLANK}', as words do",
                fix="set whole_words to false",
            )
        special_V = torch.zeros(len(tokenizer), dtype=torch.bool)
        special_V[tokenizer.all_special_ids] = True
        starts_V = None
        if whole_words:
            starts = [
                piece.startswith(BLANK) or not any(category(character)[0] in "LMN" for character in piece)
                for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            ]
            starts_V = torch.tensor(starts) | special_V
        return cls(fraction, tokenizer.mask_token_id, special_V, starts_V, weights_V, every_row)

    def __call__(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """BERT's masking, drawn from torch's global generator: (ids with masks, chosen_BL bool), both on the CPU.

        Of the chosen positions 80 % become the mask token, 10 % a random token, 10 % stay (arXiv 1810.04805, section
        3.1). Special and padding positions are never chosen; a batch always has at least one chosen position, and with
        `every_row` so does each sequence that has any other token.
        """
        candidates_BL = ~self.special_V[ids_BL]
        if mask_BL is not None:
            candidates_BL &= mask_BL
        draw_BL = torch.rand(ids_BL.shape)
        weight_BL = torch.ones(()) if self.weights_V is None else self.weights_V[ids_BL]
        if self.starts_V is not None:
            first_BL = first_pieces(self.starts_V[ids_BL])
            draw_BL = draw_BL.gather(1, first_BL)
            weight_BL = weight_BL if self.weights_V is None else weight_BL.gather(1, first_BL)
        chosen_BL = (draw_BL < self.fraction * weight_BL) & candidates_BL
        if self.every_row:
            bare_B = candidates_BL.any(1) & ~chosen_BL.any(1)
            nearest_B = torch.where(candidates_BL, draw_BL, 2.0).argmin(1)
            chosen_BL[bare_B, nearest_B[bare_B]] = True
        elif not chosen_BL.any():
            chosen_BL.view(-1)[int(torch.where(candidates_BL, draw_BL, 2.0).argmin())] = True
        action_BL = torch.rand(ids_BL.shape)
        random_BL = torch.randint(0, len(self.special_V), ids_BL.shape)
        masked_BL = torch.where(chosen_BL & (action_BL < 0.8), self.mask_id, ids_BL)
        masked_BL = torch.where(chosen_BL & (action_BL >= 0.9), random_BL, masked_BL)
        return masked_BL, chosen_BL

    def of_batch(self, batch: Batch | Masked) -> Masked:
        """The batch with masks, on its device, unless it has them; drawn on the CPU, so the same on every device."""
        if isinstance(batch, Masked):
            return batch
        drawn = batch.on_cpu
        masked_BL, chosen_BL = self(drawn.ids_BL, drawn.mask_BL)
        text = replace(batch, ids_BL=moved(masked_BL, batch.ids_BL.device))
        return Masked(text, batch.ids_BL, chosen_BL, int(chosen_BL.sum()))


def rarity(ids: Array, vocabulary: int, special: Sequence[int]) -> torch.Tensor:
    """(V,) float32 weights for masking: -log of a piece's share of these tokens, clipped to between 0.25 and 4 times
    the mean, and scaled to mean 1 over the tokens. Frequent words are masked less, with no tagger in any language."""
    counts_V = np.bincount(ids, minlength=vocabulary).astype(np.float64)
    counts_V[list(special)] = 0
    shares_V = (counts_V + 1) / (counts_V + 1).sum()
    surprise_V = -np.log(shares_V)
    mean = float((counts_V * surprise_V).sum() / max(1.0, counts_V.sum()))
    weights_V = np.clip(surprise_V / mean, 0.25, 4.0)
    return torch.from_numpy(weights_V / max(1e-9, float((counts_V * weights_V).sum() / counts_V.sum()))).float()


def first_pieces(starts_BL: torch.Tensor) -> torch.Tensor:
    """For each position, the position of its word's first piece, (B, L) int64; words are split every `LONGEST_WORD`
    pieces."""
    at_BL = torch.arange(starts_BL.shape[1]).expand(starts_BL.shape)
    word_BL = torch.where(starts_BL, at_BL, 0).cummax(1).values
    return at_BL - (at_BL - word_BL) % LONGEST_WORD
