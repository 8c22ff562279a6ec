"""The Fuse stage: trains a target on English rows and their translations, which some layers read together.

It leaves the Train stage's files, with a model that can also read one language alone, and `fusion.json` (see
`fusion.records.FusedTraining`). With an input "teacher", another such stage, it also learns the teacher's soft labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.fusion.train_on import trained_and_chosen
from viaduct.languages import ENGLISH
from viaduct.runs.census import Census
from viaduct.runs.parts import Substitution, Training
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes, trained_tokens
from viaduct.runs.stage import StageKind, Work, in_languages, training_history


class FuseWork(Work):
    """Train on rows and their translations together; otherwise the core's training."""

    kind: Literal["fuse"] = "fuse"
    task: str
    training: Training
    seed: int
    card: str
    """The card with the translations."""
    languages: tuple[str, ...]
    local: int
    fused: int
    most_missing: float
    dev: tuple[tuple[str, str], ...]
    """(card, language) of the dev rows."""
    alpha: float = 0.0
    """Weight of the teacher's soft labels; 0: there is no teacher."""
    temperature: float = 1.0
    substitutions: tuple[Substitution, ...] = ()


class FuseKind(StageKind[FuseWork]):
    """The stage kind `fuse`."""

    name = "fuse"
    work = FuseWork
    version = 1
    function = "viaduct.fusion.fused_training:fuse"
    starts_from_encoder = leaves_encoder = seeded = True

    def needs(self, work: FuseWork, census: Census) -> list[Need]:
        """English train rows, translations, dev rows."""
        translated = [(work.card, "train", code) for code in work.languages]
        return [(work.task, "train", ENGLISH), *translated, *((card, "dev", code) for card, code in work.dev)]

    def is_scored_on_dev(self, work: FuseWork) -> bool:
        """Whether only English dev rows choose the checkpoint."""
        return all(code == ENGLISH for _, code in work.dev)

    def label(self, work: FuseWork) -> str:
        """The task, its languages and its layers."""
        taught = ", self-taught" if work.alpha else ""
        layers = f"{work.local} + {work.fused} layers{taught}"
        return f"train {work.task} and translations {in_languages(work.languages)} ({layers})"

    def forecast(self, work: FuseWork, sizes: Sizes) -> Estimate:
        """The cost of training on every English row with one translation, of the teacher's pass, and of dev rows."""
        length = work.training.max_length
        rows, english = sizes.of([(work.task, "train", ENGLISH)], length)
        _, others = sizes.of([(work.card, "train", code) for code in work.languages], length)
        trained = trained_tokens(english + others / max(1, len(work.languages)), rows, work.training)
        return trained_and_chosen(trained, work.training, work.dev, sizes, more=bool(work.alpha))

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The task, the layers, the seed and the length of training."""
        done = f"trained on {work['task']} and its translations, layers {work['local']} + {work['fused']} fused"
        return training_history(done, begun, work["seed"], work["training"])


FUSE = FuseKind()
