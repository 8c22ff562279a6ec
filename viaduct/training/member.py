"""Members: what a Joint stage is trained on. Each step has one of them, drawn by the mixture.

Labelled tasks are members (`training.joint_training`); a room adds others through a recipe field whose `member` is
"module:NAME" of a callable that takes (context, work, tokenizer, limits) and returns a `Member`.
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
    """One thing that a Joint stage is trained on. A subclass sets the attributes, and implements at least `batch` and
    `loss`."""

    name: str
    """Unique in the stage; it appears in training.json."""
    rows: int
    """Number of rows, which the mixture's rule goes by."""
    order: Order
    """The member's batches; their number per epoch determines how many steps it gets."""
    ids: Sequence[Array] = ()
    """All token ids that it ever passes to the encoder; other embedding rows need not be held during training."""
    needs_vocabulary = False
    """Whether its loss scores words with the masked-LM head; the whole vocabulary is then held."""

    is_scored = False
    """Whether it has a dev score; the mean of the members' scores chooses the checkpoint."""

    def parts(self, encoder: nn.Module) -> Mapping[str, nn.Module]:
        """New modules by name, with weights drawn from torch's global seed; they become `model.head[name]`. Members
        with parts of the same name share one. Called before the vocabulary is trimmed, always in the same order."""
        return {}

    def batch(self, own: int) -> Any:
        """The member's own batch number `own` (0-based), a `training.job.StepBatch`; it depends only on the number."""
        raise NotImplementedError

    def loss(self, model: JointModel, batch: Any) -> torch.Tensor:
        """The loss of one of its batches on the device, in nats, scaled so that each step weighs the same."""
        raise NotImplementedError

    def cut(self, model: JointModel, batch: Any, count: int) -> Sequence[Any]:
        """The batch, on the device, in at most `count` parts whose losses add up to its own: anything random in it,
        such as masks, is drawn here for the whole batch, and `loss` uses that."""
        parts: Sequence[Any] = batch.cut(count)
        return parts

    def weight(self, batch: Any) -> float:
        """Divisor that makes the loss a mean over the batch's units, for the curve; 1 if it is a mean already."""
        return 1.0

    def score(self, model: JointModel) -> float:
        """The English-dev score of the model, which is in evaluation mode; only called if `is_scored` is True."""
        raise NotImplementedError

    def finish(self, model: JointModel, directory: Path) -> None:
        """Measure, and write what is to be kept besides the encoder. The model holds its final weights, is in
        evaluation mode and on its device; its vocabulary is still the trimmed one."""
