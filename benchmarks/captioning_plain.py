"""Captioning objectives as one would write them with transformers' own models: the image tower runs for every batch,
and XLMRobertaForMaskedLM scores the whole vocabulary at every position.

Only the connector between tower and text, and the common space, are Viaduct's modules.

Shape letters: B captions, P visual tokens, L text tokens, T all of them, V width of the tower, D of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from captioning_stage import COMMON_WIDTH, FILES, LANGUAGES, picture_file
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy, logsigmoid
from training_rows import FIRST, LAST, PAD
from transformers import ViTImageProcessorPil, ViTModel, XLMRobertaForMaskedLM

from viaduct.vision.prefix import CommonSpace, VisualPrefix

MOST_TOKENS = 64
SMOOTHING = 0.1
IGNORED = -100

Arrays = Mapping[str, np.ndarray]


class Plain(nn.Module):
    """Encoder, frozen tower and the new parts; `forward` returns the loss of a batch for this objective."""

    def __init__(self, folder: Path, objective: str, parts: Path, device: str = "cpu") -> None:
        super().__init__()
        self.objective, self.device = objective, device
        self.model = XLMRobertaForMaskedLM.from_pretrained(folder / "encoder", dtype=torch.float32)
        tower = ViTModel.from_pretrained(folder / "tower", add_pooling_layer=False, dtype=torch.float32)
        self.tower = [
            tower.to(device).eval().requires_grad_(False)
        ]  # in a list, so that it is neither trained nor put into training mode
        self.pixels = _pixels(folder).to(device)
        state = load_file(parts)
        width, seen = self.model.config.hidden_size, tower.config.hidden_size
        if objective == "contrastive":
            self.space = CommonSpace(width, seen, COMMON_WIDTH, sigmoid=True)
            self.space.load_state_dict(_below(state, "space."))
        else:
            tokens = len(state["prefix.null"])
            self.prefix = VisualPrefix(seen, tokens, self.model.roberta, 0, len(LANGUAGES))
            self.prefix.load_state_dict(_below(state, "prefix."))
        self.to(device)

    def forward(self, arrays: Arrays) -> torch.Tensor:
        """The mean loss of a batch: ids and picture file of each caption, and the random draws of its objective."""
        batch = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        patches_BPV, vector_BV = self._seen(batch["file"])
        if self.objective == "contrastive":
            loss = self._contrastive(batch, vector_BV)
        else:
            prefix_BPD = self.prefix(patches_BPV, batch["dropped"])
            loss = (self._ar if self.objective == "ar_caption" else self._mlm)(batch, prefix_BPD)
        if "replay/ids" in batch:
            ids_BL, chosen_BL = batch["replay/ids"], batch["replay/chosen"]
            labels_BL = ids_BL.masked_fill(~chosen_BL, IGNORED)
            loss = loss + self.model(batch["replay/masked"], attention_mask=ids_BL != PAD, labels=labels_BL).loss
        return loss

    def _seen(self, file_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(patches_BPV, averaged two by two until they are few enough; the class token's vector_BV)."""
        with torch.no_grad():
            hidden_BTV = self.tower[0](self.pixels[file_B]).last_hidden_state
        side = round((hidden_BTV.shape[1] - 1) ** 0.5)
        grid_BVHW = hidden_BTV[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        while grid_BVHW.shape[2] * grid_BVHW.shape[3] > MOST_TOKENS:
            grid_BVHW = avg_pool2d(grid_BVHW, 2)
        return grid_BVHW.flatten(2).transpose(1, 2), hidden_BTV[:, 0]

    def _mlm(self, batch: Mapping[str, torch.Tensor], prefix_BPD: torch.Tensor) -> torch.Tensor:
        ids_BL = batch["ids"]
        labels_BL = ids_BL.masked_fill(~batch["chosen"], IGNORED)
        none_BP = ids_BL.new_full(prefix_BPD.shape[:2], IGNORED)
        words_BLD = self.model.get_input_embeddings()(batch["masked"])
        loss: torch.Tensor = self.model(
            inputs_embeds=torch.cat([prefix_BPD, words_BLD], dim=1),
            attention_mask=torch.cat([torch.ones_like(none_BP), (ids_BL != PAD).long()], dim=1),
            position_ids=_positions(prefix_BPD.shape[1], ids_BL.shape[1], 0).expand(len(ids_BL), -1),
            labels=torch.cat([none_BP, labels_BL], dim=1),
        ).loss
        return loss

    def _ar(self, batch: Mapping[str, torch.Tensor], prefix_BPD: torch.Tensor) -> torch.Tensor:
        """[language | image | text | a mask for each token except the first]: all masks are predicted in one pass, each
        from what comes before it."""
        ids_BL = batch["ids"]
        captions, length = ids_BL.shape
        prefix_BPD = torch.cat([self.prefix.slot(batch["language"])[:, None], prefix_BPD], dim=1)
        visual = prefix_BPD.shape[1]
        masks_BL = torch.full_like(ids_BL[:, 1:], self.model.config.vocab_size - 1)
        words_BTD = self.model.get_input_embeddings()(torch.cat([ids_BL, masks_BL], dim=1))
        logits_BTV = self.model(
            inputs_embeds=torch.cat([prefix_BPD, words_BTD], dim=1),
            attention_mask=_pseudo_causal(ids_BL != PAD, visual),
            position_ids=_positions(visual, length, length - 1).expand(captions, -1),
        ).logits
        targets_BL = ids_BL[:, 1:].masked_fill(ids_BL[:, 1:] == PAD, IGNORED)
        guesses_BLV = logits_BTV[:, visual + length :]
        return cross_entropy(guesses_BLV.transpose(1, 2), targets_BL, label_smoothing=SMOOTHING)

    def _contrastive(self, batch: Mapping[str, torch.Tensor], vector_BV: torch.Tensor) -> torch.Tensor:
        ids_BL = batch["ids"]
        hidden_BLD = self.model.roberta(ids_BL, attention_mask=ids_BL != PAD).last_hidden_state
        special = torch.tensor([FIRST, PAD, LAST])
        real_BL1 = (~torch.isin(ids_BL, special))[..., None].float()
        texts_BE = self.space.of_text((hidden_BLD * real_BL1).sum(1) / real_BL1.sum(1))
        logits_BB = self.space.scale * texts_BE @ self.space.of_image(vector_BV).T + self.space.shift
        same_BB = batch["image"][:, None] == batch["image"][None]
        return -logsigmoid(torch.where(same_BB, logits_BB, -logits_BB)).sum() / len(ids_BL)


def _pixels(folder: Path) -> torch.Tensor:
    """The processor's output for every picture file, computed once: reading them is not timed."""
    processor = ViTImageProcessorPil.from_pretrained(folder / "tower")
    images = [Image.open(picture_file(folder / "pictures", at)).convert("RGB") for at in range(FILES)]
    pixels: torch.Tensor = processor(images, return_tensors="pt")["pixel_values"]
    return pixels


def _positions(visual: int, length: int, masks: int) -> torch.Tensor:
    """XLM-R's position ids: visual tokens have that of padding, a mask token that of the word that it replaces."""
    text_L = torch.arange(PAD + 1, PAD + 1 + length)
    return torch.cat([text_L.new_full((visual,), PAD), text_L, text_L[length - masks :]])[None]


def _pseudo_causal(real_BL: torch.Tensor, visual: int) -> torch.Tensor:
    """(B, 1, T, T) bool: the image attends to the image; a word also to itself and the words before; a mask to the
    image, the words before its own, and itself."""
    length = real_BL.shape[1]
    kind_T = torch.tensor([0] * visual + [1] * length + [2] * (length - 1))
    time_T = torch.cat([torch.zeros(visual), torch.arange(length), torch.arange(1, length)])
    asks, seen = kind_T[:, None], kind_T[None]
    before_TT, same_TT = time_T[None] < time_T[:, None], time_T[None] == time_T[:, None]
    allowed_TT = (
        (seen == 0) | ((asks == 1) & (seen == 1) & (before_TT | same_TT)) | ((asks == 2) & (seen == 1) & before_TT)
    )
    real_BT = torch.cat([real_BL.new_ones(len(real_BL), visual), real_BL, real_BL[:, 1:]], dim=1)
    allowed_BTT = (allowed_TT & real_BT[:, None]) | torch.eye(len(kind_T), dtype=torch.bool)
    return allowed_BTT[:, None]


def _below(state: Mapping[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
