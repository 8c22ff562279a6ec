"""What a run cost, from its stage costs: seconds, tokens, padding and memory by arm and stage.

A stage that several arms or targets use was run once and is counted once. Nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viaduct.results.record import About, StageCost

SHARED = ""
"""The arm of stages that several arms use."""

STAGES = ("pretrain", "train", "distil", "compress", "predict", "score")


@dataclass(frozen=True)
class CostLine:
    """The stages of one kind in one arm, together."""

    arm: str
    """"" for stages that several arms use."""
    stage: str
    stages: int
    """How many there were."""
    seconds: float
    tokens: int
    padding_fraction: float | None
    """Padding slots / all slots over all of them; None where no batches were made."""
    flops: float | None
    """None when no stage has an estimate."""
    peak_memory_bytes: int
    """Of the largest one."""
    shared_seconds: float
    """Spent in stages that several arms, or several targets of this arm, use."""


@dataclass(frozen=True)
class Spending:
    """The whole run's cost."""

    lines: tuple[CostLine, ...]
    arms: tuple[str, ...]
    """Those with a cost, shared work first."""
    stages: tuple[str, ...]
    """Kinds that occur, in the order of the work."""
    devices: tuple[str, ...]
    """Device and threads, in words."""

    @property
    def total(self) -> CostLine | None:
        """Everything together; None when nothing was recorded."""
        return together("(total)", "(total)", self.lines) if self.lines else None

    def of_arm(self, arm: str) -> CostLine:
        """All stages of one arm together."""
        return together(arm, "(total)", [line for line in self.lines if line.arm == arm])

    def seconds(self, arm: str, stage: str) -> float | None:
        """Seconds of one kind of stage in one arm, None when there was none."""
        return next((line.seconds for line in self.lines if (line.arm, line.stage) == (arm, stage)), None)


def build(about: About, costs: Sequence[StageCost]) -> Spending:
    """The costs by arm and stage; a path that is there twice counts once, as its last record says."""
    once = tuple({cost.path: cost for cost in costs}.values())
    arms = tuple(
        arm
        for arm in dict.fromkeys((SHARED, *about.arms, *(cost.arm for cost in once)))
        if any(cost.arm == arm for cost in once)
    )
    kinds = tuple(
        stage
        for stage in dict.fromkeys((*STAGES, *(cost.stage for cost in once)))
        if any(cost.stage == stage for cost in once)
    )
    lines = []
    for arm in arms:
        for stage in kinds:
            members = [cost for cost in once if (cost.arm, cost.stage) == (arm, stage)]
            if members:
                lines.append(together(arm, stage, [_line(cost) for cost in members]))
    devices = sorted({cost.computed for cost in once})
    return Spending(tuple(lines), arms, kinds, tuple(devices))


def _line(cost: StageCost) -> CostLine:
    return CostLine(
        arm=cost.arm,
        stage=cost.stage,
        stages=1,
        seconds=cost.seconds,
        tokens=cost.tokens,
        padding_fraction=cost.padding_fraction,
        flops=cost.flops,
        peak_memory_bytes=cost.peak_memory_bytes,
        shared_seconds=cost.seconds if SHARED in (cost.arm, cost.task) else 0.0,
    )


def together(arm: str, stage: str, lines: Sequence[CostLine]) -> CostLine:
    """The sum of these lines; padding is weighted by slots, memory is the highest."""
    padded = [line for line in lines if line.padding_fraction is not None and line.padding_fraction < 1]
    slots = sum(line.tokens / (1 - (line.padding_fraction or 0.0)) for line in padded)
    real = sum(line.tokens for line in padded)
    estimates = [line.flops for line in lines if line.flops is not None]
    return CostLine(
        arm=arm,
        stage=stage,
        stages=sum(line.stages for line in lines),
        seconds=sum(line.seconds for line in lines),
        tokens=sum(line.tokens for line in lines),
        padding_fraction=1 - real / slots if slots else None,
        flops=sum(estimates) if estimates else None,
        peak_memory_bytes=max((line.peak_memory_bytes for line in lines), default=0),
        shared_seconds=sum(line.shared_seconds for line in lines),
    )
