"""What is masked in masked-LM pretraining: single pieces, or whole words.

Shape letters: B sequences, L tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unicodedata import category

import torch

from viaduct.models.tokenizer import BLANK

LONGEST_WORD = 3
"""Pieces masked together at most: scripts without blanks would otherwise lose whole sentences."""


@dataclass(frozen=True)
class Masking:
    """Which positions are guessed. `starts_V` marks the pieces that begin a word; None: every piece for itself."""

    fraction: float
    mask_id: int
    special_V: torch.Tensor
    starts_V: torch.Tensor | None = None

    @classmethod
    def of(cls, tokenizer: Any, fraction: float, *, whole_words: bool) -> Masking:
        """The masking for a tokenizer whose words begin with "▁"; punctuation is a word of its own."""
        special_V = torch.zeros(len(tokenizer), dtype=torch.bool)
        special_V[tokenizer.all_special_ids] = True
        if not whole_words:
            return cls(fraction, tokenizer.mask_token_id, special_V)
        pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        starts = [
            piece.startswith(BLANK) or not any(category(character)[0] in "LMN" for character in piece)
            for piece in pieces
        ]
        return cls(fraction, tokenizer.mask_token_id, special_V, torch.tensor(starts) | special_V)

    def __call__(self, ids_BL: torch.Tensor, mask_BL: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """BERT's masking from torch's global generator: (ids with masks, chosen_BL bool), both on the CPU.

        Of the chosen positions 80 % become the mask token, 10 % a random token, 10 % stay (arXiv 1810.04805, section
        3.1). Special and padding positions are never chosen; a batch always has at least one.
        """
        candidates_BL = ~self.special_V[ids_BL]
        if mask_BL is not None:
            candidates_BL &= mask_BL
        draw_BL = torch.rand(ids_BL.shape)
        if self.starts_V is not None:
            draw_BL = draw_BL.gather(1, first_pieces(self.starts_V[ids_BL]))
        chosen_BL = (draw_BL < self.fraction) & candidates_BL
        if not chosen_BL.any():
            chosen_BL.view(-1)[int(torch.where(candidates_BL, draw_BL, 2.0).argmin())] = True
        action_BL = torch.rand(ids_BL.shape)
        random_BL = torch.randint(0, len(self.special_V), ids_BL.shape)
        masked_BL = torch.where(chosen_BL & (action_BL < 0.8), self.mask_id, ids_BL)
        masked_BL = torch.where(chosen_BL & (action_BL >= 0.9), random_BL, masked_BL)
        return masked_BL, chosen_BL


def first_pieces(starts_BL: torch.Tensor) -> torch.Tensor:
    """For each position, that of the first piece of its word, (B, L) int64; words are cut up every `LONGEST_WORD`
    pieces."""
    at_BL = torch.arange(starts_BL.shape[1]).expand(starts_BL.shape)
    word_BL = torch.where(starts_BL, at_BL, 0).cummax(1).values
    return at_BL - (at_BL - word_BL) % LONGEST_WORD
