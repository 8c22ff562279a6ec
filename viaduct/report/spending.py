"""What a run cost, from its stage costs: seconds, tokens, padding and memory by arm and stage.

A stage that several arms or targets use was run once and is counted once. Everything was measured, except FLOPs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from viaduct.results.record import About, StageCost

SHARED = ""
"""The arm of stages that several arms use."""

ORDER = ("pretrain", "train", "distil", "compress", "predict", "score")
"""Order of the stages in the table; others follow."""


@dataclass(frozen=True)
class CostLine:
    """The total cost of one kind of stage in one arm."""

    arm: str
    """"" for stages that several arms use."""
    stage: str
    stages: int
    """Number of stages."""
    seconds: float
    tokens: int
    padding_fraction: float | None
    """Padding slots / all slots, over all of these stages; None if no batches were made."""
    flops: float | None
    """None if no stage has an estimate."""
    peak_memory_bytes: int
    """Peak memory of the largest of these stages."""
    shared_seconds: float
    """Seconds spent in stages that several arms, or several targets of this arm, use."""


@dataclass(frozen=True)
class Spending:
    """The whole run's cost."""

    lines: tuple[CostLine, ...]
    arms: tuple[str, ...]
    """Arms with a cost, shared work first."""
    stages: tuple[str, ...]
    """Kinds of stages that occur, in the order of the work."""
    devices: tuple[str, ...]
    """Device and threads, in words."""

    @property
    def total(self) -> CostLine | None:
        """The total over everything; None if nothing was recorded."""
        return together("(total)", "(total)", self.lines) if self.lines else None

    def lines_and_total(self) -> list[dict[str, Any]]:
        """Lines for a file, by arm and stage, then the total; an empty arm is work that several arms share."""
        return [asdict(line) for line in (*self.lines, self.total) if line is not None]

    def of_arm(self, arm: str) -> CostLine:
        """The total over all stages of one arm."""
        return together(arm, "(total)", [line for line in self.lines if line.arm == arm])

    def seconds(self, arm: str, stage: str) -> float | None:
        """Seconds of one kind of stage in one arm; None if there was none."""
        return next((line.seconds for line in self.lines if (line.arm, line.stage) == (arm, stage)), None)


def build_spending(about: About, costs: Sequence[StageCost]) -> Spending:
    """The costs by arm and stage; a path that occurs twice counts once, with its last record."""
    once = {cost.path: cost for cost in costs}.values()
    arms = _in_order((SHARED, *about.arms), [cost.arm for cost in once])
    kinds = _in_order(ORDER, [cost.stage for cost in once])
    groups = {
        (arm, kind): [one for one in once if (one.arm, one.stage) == (arm, kind)] for arm in arms for kind in kinds
    }
    lines = tuple(together(*key, [_line(cost) for cost in members]) for key, members in groups.items() if members)
    return Spending(lines, arms, kinds, tuple(sorted({cost.computed for cost in once})))


def _in_order(first: Iterable[str], found: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys((*first, *found)) if name in found)


def _line(cost: StageCost) -> CostLine:
    shared = cost.seconds if SHARED in (cost.arm, cost.task) else 0.0
    numbers = (cost.seconds, cost.tokens, cost.padding_fraction, cost.flops, cost.peak_memory_bytes)
    return CostLine(cost.arm, cost.stage, 1, *numbers, shared)


def together(arm: str, stage: str, lines: Sequence[CostLine]) -> CostLine:
    """The sum of these lines; padding is weighted by slots, memory is the highest."""
    padded = [(line.tokens, line.padding_fraction) for line in lines if line.padding_fraction is not None]
    padded = [(tokens, padding) for tokens, padding in padded if padding < 1]
    slots = sum(tokens / (1 - padding) for tokens, padding in padded)
    estimates = [line.flops for line in lines if line.flops is not None]
    return CostLine(
        arm=arm,
        stage=stage,
        stages=sum(line.stages for line in lines),
        seconds=sum(line.seconds for line in lines),
        tokens=sum(line.tokens for line in lines),
        padding_fraction=1 - sum(tokens for tokens, _ in padded) / slots if slots else None,
        flops=sum(estimates) if estimates else None,
        peak_memory_bytes=max((line.peak_memory_bytes for line in lines), default=0),
        shared_seconds=sum(line.shared_seconds for line in lines),
    )
