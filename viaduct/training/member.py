"""What a joint stage is trained on: members, of which each step has one, drawn by the mixture.

Labelled tasks are members (`training.joint_training`); a room brings another through a recipe field whose `member` is
"module:NAME", called with (context, work, tokenizer, limits) and giving a `Member`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viaduct.encode.tokens import Array
from viaduct.models.joint import JointModel
from viaduct.training.order import Order


class Member:
    """One thing that a joint stage is trained on. A subclass sets the attributes, and gives at least `batch` and
    `loss`."""

    name: str
    """Unique in the stage; it stands in training.json."""
    rows: int
    """What the mixture's rule counts."""
    order: Order
    """Its batches: their number in an epoch decides how many steps it gets."""
    ids: Sequence[Array] = ()
    """All token ids that it ever gives the encoder; other rows of the embedding need not be held while training."""
    needs_vocabulary = False
    """Whether its loss scores words, by the masked-LM head: then the whole vocabulary is held."""

    is_scored = False
    """Whether it has a dev score; the mean of the members' scores chooses the checkpoint."""

    def parts(self, encoder: nn.Module) -> Mapping[str, nn.Module]:
        """New modules by name, with weights from torch's global seed; the model has them as `model.head[name]`. Members
        that give a part of one name share it. Called before the vocabulary is trimmed, always in the same order."""
        return {}

    def batch(self, own: int) -> Any:
        """The member's own batch number `own` (0-based), a `training.loop.StepBatch`; it depends on the number
        alone."""
        raise NotImplementedError

    def loss(self, model: JointModel, batch: Any) -> torch.Tensor:
        """The loss of one of its batches on the device, in nats, scaled so that each step weighs the same."""
        raise NotImplementedError

    def cut(self, model: JointModel, batch: Any, count: int) -> Sequence[Any]:
        """The batch, on the device, in at most `count` parts whose losses sum up to its own: what is random in it, such
        as masks, is drawn for the whole, and `loss` takes it from there."""
        parts: Sequence[Any] = batch.cut(count)
        return parts

    def weight(self, batch: Any) -> float:
        """What that loss is divided by for the mean of a unit of the batch, in the curve; 1 for one that is a mean."""
        return 1.0

    def score(self, model: JointModel) -> float:
        """The English-dev score of the model, which is in evaluation mode, where `is_scored` says that there is one."""
        raise NotImplementedError

    def finish(self, model: JointModel, directory: Path) -> None:
        """Measure, and write what is to be kept besides the encoder. The model holds its last weights, is in evaluation
        mode and on its device; its vocabulary is still the trimmed one."""
