"""The Distil stage: trains a student with fewer layers to imitate its teacher, on text without labels.

It writes `encoder/` (the student) and `training.json` as Train does, and `masked_language_head.safetensors` if the
teacher had such a head.
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
    """A smaller encoder (the student) that is trained on text without labels to imitate a larger one (the teacher).

    The teacher is the arm's encoder after its intermediate tasks. Layer j of S of the student is initialised from the
    teacher's layer round(j T / S) of T, and trained to match that layer's states.
    """

    layers: Layers
    """Number of layers of the student."""
    text: Some[str] = ("text",)
    """Cards of kind "text"."""
    languages: Some[str] | None = None
    """None: every language with available text."""
    lines: Count = 2000
    """Most lines per language (the first ones are used)."""
    sampling_exponent: Share = 0.3
    """Languages are drawn with probability proportional to size ** this."""
    hidden: Weight = 1.0
    """Weight of the squared distance between student and teacher states, both scaled to length 1 (arXiv 1908.09355)."""
    logits: Weight = 1.0
    """Weight of KL(teacher || student) of the masked-word predictions, if the teacher has a masked-LM head."""
    temperature: Above = 2.0
    """The masked-LM logits are divided by this, and their KL is multiplied by its square (arXiv 1503.02531)."""
    mask_fraction: InnerShare = 0.15
    whole_words: bool = True
    training: WholeTraining = Training(learning_rate=1e-4, batch_tokens=8192, weight_decay=0.01)


class DistilWork(Work):
    """Train a student with fewer layers to imitate the encoder, on text."""

    kind: Literal["distil"] = "distil"
    distil: Distil
    languages: tuple[str, ...]
    """Resolved: the languages whose text is available."""
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class DistilKind(StageKind[DistilWork]):
    """The kind of Distil stages."""

    name = "distil"
    work = DistilWork
    version = 2
    function = "viaduct.serving.distillation:run"
    starts_from_encoder = leaves_encoder = seeded = True

    def needs(self, work: DistilWork, census: Census) -> list[Need]:
        """The text to train on."""
        return text_needs(work.distil.text, work.languages, census)

    def label(self, work: DistilWork) -> str:
        """The student's layers, and the text's languages."""
        return f"distil into {layer_words(work.distil.layers)}, text {in_languages(work.languages)}"

    def forecast(self, work: DistilWork, sizes: Sizes) -> Estimate:
        """The cost of a teacher's forward pass for each of the student's forward and backward passes."""
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
        """The number of layers of the student."""
        return work.distil.layers

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The student's layers, the seed and the training settings."""
        done = f"distilled into {work['distil']['layers']} layers"
        return training_history(done, begun, work["seed"], work["distil"]["training"])


DISTIL = DistilKind()
