"""The image side of a multimodal stage: the visual prefix of the encoder's input, and the heads of the image losses.

All of it is discarded after the stage; what remains is the text encoder, whose parameter set and names are unchanged.
Visual tokens come before the text and have the position of padding, whose embedding is zero in XLM-R, so that the text
keeps the positions it was pretrained with.

Shape letters: B captions, P visual tokens (with the language slot where there is one), L text tokens, T = P + L (or
P + 2 L - 1 with pseudo-masks), V width of the tower's features, D width of the encoder, E width of the common space.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from viaduct.errors import UsageError
from viaduct.models.encoder import word_embeddings
from viaduct.runs.families import ROBERTA

CHANNELS = 16
"""Channels of a trained tower's first convolution; each further one has twice as many."""

ABSOLUTE_POSITIONS = {*ROBERTA, "bert"}
"""Model types that take position ids, so that visual tokens can precede a text without shifting its positions."""


class VisualPrefix(nn.Module):
    """(B, P, V) features -> (B, P, D) input vectors, at the scale of the encoder's word embeddings.

    LayerNorm, MLP and positions, as in LLaVA-like connectors; `layers` convolutions below make it a small tower that is
    trained with the stage, for features that are raw pixels. A learned *null image* replaces absent ones.
    """

    def __init__(self, features: int, tokens: int, encoder: nn.Module, layers: int, languages: int) -> None:
        super().__init__()
        words_ND = word_embeddings(encoder).detach()
        width = words_ND.shape[1]
        self.pixels = PixelTower(features, tokens, layers) if layers else None
        seen = features if self.pixels is None else self.pixels.width
        self.enter = nn.LayerNorm(seen)
        self.first = nn.Linear(seen, width)
        self.second = nn.Linear(width, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.leave = nn.LayerNorm(width)
        nn.init.constant_(self.leave.weight, float(words_ND.pow(2).mean().sqrt()))
        self.null = nn.Parameter(float(words_ND.std()) * torch.randn(tokens, width))
        self.slot = nn.Embedding(max(1, languages), width)
        nn.init.normal_(self.slot.weight, std=float(words_ND.std()))

    def forward(self, patches_BPV: torch.Tensor, dropped_B: torch.Tensor | None = None) -> torch.Tensor:
        """The images' input vectors; where `dropped_B` (bool) is true, those of the null image."""
        seen_BPV = patches_BPV.float() if self.pixels is None else self.pixels(patches_BPV.float())
        inside_BPD = self.second(nn.functional.gelu(self.first(self.enter(seen_BPV)))) + self.place
        prefix_BPD: torch.Tensor = self.leave(inside_BPD)
        if dropped_B is None:
            return prefix_BPD
        return torch.where(dropped_B[:, None, None], self.null, prefix_BPD)

    def null_images(self, captions: int) -> torch.Tensor:
        """(B, P, D): the null image for each caption."""
        return self.null.expand(captions, *self.null.shape)


class PixelTower(nn.Module):
    """(B, P, V) raw pixels in square patches -> (B, P, C): convolutions that each halve the image, then means by patch.

    Raises UsageError for features that are not square patches of three colours in a square grid, and for a patch
    that cannot be halved once per layer.
    """

    def __init__(self, features: int, tokens: int, layers: int) -> None:
        super().__init__()
        self.grid, self.patch = math.isqrt(tokens), math.isqrt(features // 3)
        if self.grid**2 != tokens or 3 * self.patch**2 != features or self.patch % 2**layers:
            raise UsageError(
                f"{layers} trained layers do not fit {tokens} visual tokens of {features} numbers",
                fix='tower_layers are for raw pixels: use tower="patches" and at most 4 layers',
            )
        channels = [3, *(CHANNELS * 2**layer for layer in range(layers))]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=5 if before == 3 else 3, stride=2, padding=2 if before == 3 else 1)
            for before, after in pairwise(channels)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for after in channels[1:])
        self.width = channels[-1]

    def forward(self, patches_BPV: torch.Tensor) -> torch.Tensor:
        """(B, P, C): features of each patch and its surroundings."""
        images, side = len(patches_BPV), self.grid * self.patch
        cut = patches_BPV.view(images, self.grid, self.grid, self.patch, self.patch, 3)
        seen = cut.permute(0, 5, 1, 3, 2, 4).reshape(images, 3, side, side)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            seen = nn.functional.gelu(norm(layer(seen)))
        seen = nn.functional.avg_pool2d(seen, seen.shape[-1] // self.grid)
        return seen.flatten(2).transpose(1, 2)


class CommonSpace(nn.Module):
    """Text (B, D) and image (B, V) vectors in one space (B, E), of unit length, with a learned scale and shift.

    The text goes through an MLP of its own, which keeps the demands of the loss out of the encoder's last layer
    (VidLanKD, arXiv 2107.02681, removes the drop on other tasks in this way).
    """

    def __init__(self, text: int, image: int, common: int, *, sigmoid: bool) -> None:
        super().__init__()
        self.text_first = nn.Linear(text, text)
        self.text_second = nn.Linear(text, common, bias=False)
        self.image = nn.Linear(image, common, bias=False)
        # SigLIP starts at log 10 and -10 (arXiv 2303.15343, section 3.2), CLIP at log(1 / 0.07) (arXiv 2103.00020).
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0 if sigmoid else 1 / 0.07)))
        self.shift = nn.Parameter(torch.tensor(-10.0 if sigmoid else 0.0))

    def of_text(self, pooled_BD: torch.Tensor) -> torch.Tensor:
        """(B, E) text vectors of unit length."""
        return normalize(self.text_second(nn.functional.gelu(self.text_first(pooled_BD))), dim=1)

    def of_image(self, pooled_BV: torch.Tensor) -> torch.Tensor:
        """(B, E) image vectors of unit length."""
        return normalize(self.image(normalize(pooled_BV.float(), dim=1)), dim=1)

    def of_tokens(self, seen_BPV: torch.Tensor) -> torch.Tensor:
        """(B, E) image vectors from the max-pooled tokens of a trained tower: what is anywhere in the image is then in
        its vector, while a mean would drown it in background."""
        return self.of_image(seen_BPV.amax(1))

    @property
    def scale(self) -> torch.Tensor:
        """The factor that cosines are multiplied by, at most 100."""
        return self.log_scale.clamp(max=math.log(100.0)).exp()


def encode_prefixed(
    encoder: nn.Module,
    ids_BL: torch.Tensor,
    positions_BL: torch.Tensor,
    prefix_BPD: torch.Tensor,
    allowed_BTT: torch.Tensor,
    types_BL: torch.Tensor | None = None,
) -> torch.Tensor:
    """hidden_BLD of the text after a visual prefix; `positions_BL` count from 0, `allowed_BTT` says which positions see
    which, `types_BL` which of two texts a token belongs to (None: the first).

    `allowed_BTT` may be (B, 1, T) if all positions see the same. The mask is passed in four dimensions and as numbers
    to add, because eager attention would add a boolean one as 0 and 1. Raises UsageError for encoders without absolute
    positions.
    """
    config: Any = encoder.config
    if config.model_type not in ABSOLUTE_POSITIONS:
        raise UsageError(
            f"an encoder of type '{config.model_type}' has no absolute positions, so images cannot stand before its"
            " text without moving it",
            fix="use the objectives contrastive or imagine, which only read the text's states",
        )
    first, visual = (config.pad_token_id + 1, config.pad_token_id) if config.model_type in ROBERTA else (0, 0)
    words_BLD = encoder.get_input_embeddings()(ids_BL)  # type: ignore[operator]
    length = prefix_BPD.shape[1]
    positions_BT = nn.functional.pad(positions_BL + first, (length, 0), value=visual)
    types_BT = torch.zeros_like(positions_BT)
    if types_BL is not None and config.model_type not in ROBERTA:  # XLM-R has one type only
        types_BT[:, length:] = types_BL
    adding_B1TT = torch.zeros(allowed_BTT.shape, dtype=words_BLD.dtype, device=ids_BL.device)
    adding_B1TT = adding_B1TT.masked_fill(~allowed_BTT, torch.finfo(words_BLD.dtype).min)[:, None]
    output = encoder(
        inputs_embeds=torch.cat([prefix_BPD.to(words_BLD.dtype), words_BLD], dim=1),
        attention_mask=adding_B1TT,
        position_ids=positions_BT,
        token_type_ids=types_BT,
    )
    hidden_BLD: torch.Tensor = output.last_hidden_state[:, length:]
    return hidden_BLD


def both_ways(inside_BL: torch.Tensor, prefix: int) -> torch.Tensor:
    """(B, 1, T): every position sees the whole image and all of the text except padding."""
    return nn.functional.pad(inside_BL, (prefix, 0), value=True)[:, None]


def pseudo_masked(inside_BL: torch.Tensor, prefix: int) -> torch.Tensor:
    """(B, T, T) for [image | y_0 .. y_{L-1} | m_1 .. m_{L-1}]: visibility if all tokens are predicted in one pass.

    The image sees the image, y_t the image and y_0 .. y_t, m_t (a mask token in y_t's place) the image, y_0 .. y_{t-1}
    and itself: the pseudo-masks of UniLMv2 (arXiv 2002.12804), which make one pass exactly step-by-step decoding.
    """
    length = inside_BL.shape[1]
    total = prefix + 2 * length - 1
    device = inside_BL.device
    allowed_TT = torch.zeros(total, total, dtype=torch.bool, device=device)
    allowed_TT[:, :prefix] = True
    text, masks = slice(prefix, prefix + length), slice(prefix + length, total)
    before_LL = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    allowed_TT[text, text] = before_LL
    allowed_TT[masks, text] = before_LL[:-1]
    allowed_TT[masks, masks] = torch.eye(length - 1, dtype=torch.bool, device=device)
    keys_BT = nn.functional.pad(torch.cat([inside_BL, inside_BL[:, 1:]], dim=1), (prefix, 0), value=True)
    itself_TT = torch.eye(total, dtype=torch.bool, device=device)  # otherwise padding would see nothing and become NaN
    return (allowed_TT & keys_BT[:, None, :]) | itself_TT
