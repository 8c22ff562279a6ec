"""Implementation of the Distil stage: trains a student with fewer layers to match its teacher's states and predictions.

The student's layers are initialised from evenly spaced layers of the teacher and trained to match the output of those.
No labels are used. If the teacher has a masked-LM head (and `logits` is not 0), both see masked text, and the student's
predictions of the masked words are trained to match the teacher's; else both see the plain text. The last step is kept.

Shape letters: B sequences, L tokens, D width, M masked positions, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from viaduct.encode.batch import Batch, collate
from viaduct.models.encoder import (
    encode_layers,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    num_layers,
    save_encoder,
    width,
    word_embeddings,
)
from viaduct.models.joint import real_tokens
from viaduct.models.language import NEW, MaskedLanguageHead, divergence, load_language_head, save_language_head
from viaduct.models.layers import pick_layers
from viaduct.models.numerics import finite, prepare
from viaduct.models.trial import whole_because
from viaduct.models.vocabulary import Trimmed, in_kept_ids, restore, trim, used_ids
from viaduct.runs.parts import Replay
from viaduct.runs.stage import Context, Spent
from viaduct.serving.distil import DistilWork
from viaduct.training.job import TrainingJob, asked
from viaduct.training.loop import fit
from viaduct.training.masking import Masked
from viaduct.training.order import count_steps
from viaduct.training.replay import DrawnText
from viaduct.training.state import TrainingState, spent, write_log


class Student(nn.Module):
    """The module that is trained: the smaller encoder, and its masked-LM head if the teacher's is used. `trimmed` maps
    token ids when the encoder holds only part of its vocabulary."""

    def __init__(self, encoder: nn.Module, head: MaskedLanguageHead | None, trimmed: Trimmed | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.trimmed = trimmed

    def states(self, batch: Batch) -> list[torch.Tensor]:
        """hidden_BLD of every layer above the embeddings."""
        kept = in_kept_ids(batch, self.trimmed)
        return encode_layers(self.encoder, kept, range(1, num_layers(self.encoder) + 1))


def matched(layers: int, of: int) -> list[int]:
    """For each student layer, the teacher layer (1 is the lowest) it starts from and is matched to: last with last.
    Numbers exceed `of` if the student has more layers than the teacher."""
    return [round(at * max(of, layers) / layers) for at in range(1, layers + 1)]


def run(context: Context, work: DistilWork) -> Spent:
    """Train, and write `encoder/`, `training.json` and the masked-LM head to the stage's directory."""
    return Distillation(context, work).run()


class Distillation:
    """A running Distil stage."""

    def __init__(self, context: Context, work: DistilWork) -> None:
        self.context, self.work, self.distil = context, work, work.distil
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(context.start, context.revision)
        self.teacher = load_encoder(context.start, context.revision).eval().requires_grad_(False)
        self.layers = matched(self.distil.layers, num_layers(self.teacher))
        encoder = copy.deepcopy(self.teacher)
        pick_layers(encoder, self.layers)
        context.progress(0, 1, "reading and tokenising")
        self.text = DrawnText(context, self._reading(), work.languages, self.tokenizer, work.seed, "distil")
        self.head, self.head_origin = self._head()
        trimmed = None
        if self.head is None:  # then no word is used that the text does not contain
            ids = [self.text.encoded.ids, *(one.ids for one in self.text.held.values())]
            trimmed = trim(encoder, used_ids(ids, self.tokenizer.all_special_ids))
        self.student = Student(encoder, copy.deepcopy(self.head), trimmed).requires_grad_(True).to(self.device)
        self.teacher.to(self.device)

    def _reading(self) -> Replay:
        """Settings for reading the text, in the form in which any stage replays text."""
        asked = self.distil
        return Replay(
            text=asked.text,
            lines=asked.lines,
            sampling_exponent=asked.sampling_exponent,
            mask_fraction=asked.mask_fraction,
            whole_words=asked.whole_words,
            batch_tokens=asked.training.batch_tokens,
            max_length=min(asked.training.max_length, longest_input(self.teacher)),
        )

    def _head(self) -> tuple[MaskedLanguageHead | None, str]:
        """The teacher's masked-LM head, frozen (None if unused), and where it comes from."""
        if not self.distil.logits:
            return None, "not asked for"
        stage = self.context.inputs.get("encoder")
        head, origin = load_language_head(self.context.start, self.context.revision, stage, self.teacher)
        if origin == NEW:
            return None, "left out: the encoder has no masked-LM head"
        return head.requires_grad_(False).to(self.device), origin

    def loss(self, _module: nn.Module, batch: Any) -> torch.Tensor:
        """hidden x distance of the states + logits x temperature^2 x KL of the predictions; each a mean over tokens."""
        if self.head is None or self.student.head is None:
            apart = self._distances(batch)[0]
            return apart * self.distil.hidden * float(batch.share)
        masked = self.text.masking.of_batch(batch)
        apart, own_BLD, its_BLD = self._distances(masked.text)
        chosen = masked.at
        own, its = self.student.head, self.head
        own_VD, its_VD = (word_embeddings(encoder) for encoder in (self.student.encoder, self.teacher))
        temperature = self.distil.temperature
        guesses = divergence(
            (lambda states_MD: own.logits(states_MD, own_VD), own_BLD[chosen]),
            (lambda states_MD: its.logits(states_MD, its_VD), its_BLD[chosen]),
            temperature,
        )
        count = max(1, masked.count)
        return self.distil.hidden * masked.text.share * apart + self.distil.logits * temperature**2 * guesses / count

    def cut(self, batch: Batch, count: int) -> Sequence[Batch | Masked]:
        """The batch in at most `count` parts; masks, if there are any, are drawn first."""
        return (batch if self.head is None else self.text.masking.of_batch(batch)).cut(count)

    def _distances(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(distance of the states, the student's last states, the teacher's last states)."""
        with torch.no_grad():
            its = encode_layers(self.teacher, batch, self.layers)
        own = self.student.states(batch)
        return states_distance(own, its, real_tokens(batch)), own[-1], its[-1]

    @torch.inference_mode()
    def distances(self) -> dict[str, float]:
        """Language -> distance of the states on held-out text."""
        self.student.eval()
        found = {}
        for code, encoded in self.text.held.items():
            batch = collate(encoded, np.arange(len(encoded)), self.text.pad_id).to(self.device)
            apart = float(self._distances(batch)[0])
            found[code] = finite(apart, f"the distance of the student's states from the teacher's in '{code}'")
        return found

    def run(self) -> Spent:
        """Train and save."""
        context, training = self.context, self.distil.training
        before = self.distances()
        state = fit(
            TrainingJob(
                model=self.student,
                steps=count_steps(self.text.order, training),
                batch_at=self.text.batch,
                loss=self.loss,
                cut=self.cut,
                evaluate=None,
                training=training,
                seed=self.work.seed,
                device=self.device,
                **asked(context),
            )
        )
        after = self.distances()
        self._save(state, before, after)
        sums = (state.tokens, state.squares)
        flops = 3 * forward_flops(self.student.encoder, *sums) + forward_flops(self.teacher, *sums)
        if self.head is not None:
            words = len(self.tokenizer) * width(self.teacher)
            flops += 8.0 * self.distil.mask_fraction * state.tokens * words
        return spent(state, flops, len(self.text.encoded))

    def _save(self, state: TrainingState, before: dict[str, float], after: dict[str, float]) -> None:
        directory = self.context.directory
        self.student.cpu()
        restore(self.student.encoder, self.student.trimmed)
        save_encoder(self.student.encoder, self.tokenizer, directory / "encoder")
        if self.student.head is not None:
            save_language_head(self.student.head, directory)
        held_out = {"before": before, "after": after}
        facts = {"teacher_layers": self.layers, "masked_language_head": self.head_origin, "held_out": held_out}
        whole = whole_because(self.student.encoder) if self.student.head is None else {}
        write_log(directory, state, sequences=len(self.text.encoded), **facts, **whole)


def states_distance(own: Sequence[torch.Tensor], its: Sequence[torch.Tensor], real_BL: torch.Tensor) -> torch.Tensor:
    """The squared distance between two lists of hidden_BLD, each state first scaled to length 1: 0 if they point the
    same way, 4 if they are opposite. The mean over layers and real tokens (arXiv 1908.09355, equation 7)."""
    apart = [
        (normalize(one.float(), dim=-1) - normalize(other.float(), dim=-1)).pow(2).sum(-1)[real_BL].mean()
        for one, other in zip(own, its, strict=True)
    ]
    return torch.stack(apart).mean()
