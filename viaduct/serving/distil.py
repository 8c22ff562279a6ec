"""The Distil stage: a student of fewer layers learns on text, without labels, to do what its teacher does.

It leaves `encoder/` (the student) and `training.json` as Train does, and `masked_language_head.safetensors` where the
teacher had one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.runs.bounds import Above, Count, InnerShare, Layers, Share, Some, Weight
from viaduct.runs.census import Census
from viaduct.runs.gaps import text_needs
from viaduct.runs.parts import Spec, Substitution, Training, WholeTraining
from viaduct.runs.rows import Need
from viaduct.runs.sizes import BACKWARD, Estimate, Sizes, trained_tokens
from viaduct.runs.stage import StageKind, Work, in_languages, layer_words, training_history


class Distil(Spec):
    """A smaller encoder (the student) that learns on text without labels to do what a larger one (the teacher) does.

    The teacher is the arm's encoder as it is after its intermediate tasks. Layer j of S of the student begins as the
    teacher's layer round(j T / S) of T, and is held to that layer's states.
    """

    layers: Layers
    """Of the student."""
    text: Some[str] = ("text",)
    """Cards of kind "text"."""
    languages: Some[str] | None = None
    """None: every language whose text is there."""
    lines: Count = 2000
    """Lines per language at most (the first ones)."""
    sampling_exponent: Share = 0.3
    """Languages are drawn with probability proportional to size ** this."""
    hidden: Weight = 1.0
    """Weight of the squared distance of student's and teacher's states, both of length 1 (arXiv 1908.09355)."""
    logits: Weight = 1.0
    """Weight of KL(teacher || student) of the guesses at masked words, where the teacher has a masked-LM head."""
    temperature: Above = 2.0
    """The guesses' logits are divided by it, and their KL multiplied by its square (arXiv 1503.02531)."""
    mask_fraction: InnerShare = 0.15
    whole_words: bool = True
    training: WholeTraining = Training(learning_rate=1e-4, batch_tokens=8192, weight_decay=0.01)


class DistilWork(Work):
    """Train a student of fewer layers on text, to do what the encoder does."""

    kind: Literal["distil"] = "distil"
    distil: Distil
    languages: tuple[str, ...]
    """Resolved: those whose text is there."""
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class DistilKind(StageKind[DistilWork]):
    """The kind."""

    name = "distil"
    work = DistilWork
    version = 2
    function = "viaduct.serving.distillation:run"
    starts_from_encoder = leaves_encoder = seeded = True

    def needs(self, work: DistilWork, census: Census) -> list[Need]:
        """The text."""
        return text_needs(work.distil.text, work.languages, census)

    def label(self, work: DistilWork) -> str:
        """The student's layers, and the text's languages."""
        return f"distil into {layer_words(work.distil.layers)}, text {in_languages(work.languages)}"

    def forecast(self, work: DistilWork, sizes: Sizes) -> Estimate:
        """A forward pass of the teacher for every one of the student's, forward and backward."""
        distil = work.distil
        tokens = 0.0
        for need in sizes.needs:
            rows, size = sizes.of([need])
            tokens += size * min(1.0, distil.lines / max(rows, 1))
        trained = trained_tokens(tokens, 0, distil.training)
        share = 1.0 if sizes.shape is None else distil.layers / sizes.shape.layers
        guesses = (sizes.guessing(distil.mask_fraction) - 1) if distil.logits else 0.0
        weight = trained * (1 + guesses + (share + guesses) * (1 + BACKWARD))
        return Estimate(trained, weight, trained / distil.training.batch_tokens)

    def layers_left(self, work: DistilWork) -> int:
        """The student's."""
        return work.distil.layers

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The student's layers, the seed and how long."""
        done = f"distilled into {work['distil']['layers']} layers"
        return training_history(done, begun, work["seed"], work["distil"]["training"])


DISTIL = DistilKind()
