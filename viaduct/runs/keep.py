"""What may be removed from a store during a run: models that no remaining stage needs, and predictions once scored.

Results are always kept: scores, outcomes by example, costs and training curves. A cleaned stage counts as done until
a stage that is to be run needs what it left; then it is run again (`viaduct.runs.kept`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from viaduct.results.store import Store
from viaduct.runs.plan import Plan
from viaduct.runs.stage import Stage, kind_of

Keep = Literal["all", "needed", "scores"]
PREDICTIONS = "predictions"
"""Input role under which a score stage takes predictions."""


class Cleaning:
    """Removes from a store what a plan no longer needs: models with "needed"; predictions, too, with "scores". The
    encoder that a recipe pretrains is kept, because everything else starts from it."""

    def __init__(self, plan: Plan, store: Store, keep: str) -> None:
        self._store = store
        self._takers: dict[str, list[Stage]] = {stage.path: [] for stage in plan.stages}
        predictions = set()
        for stage in plan.stages:
            for role, source in stage.inputs.items():
                self._takers[source.path].append(stage)
                predictions |= {source.path} if role == PREDICTIONS else set()
        self._removable = {
            stage.path
            for stage in plan.stages
            if (keep != "all" and is_model(stage)) or (keep == "scores" and stage.path in predictions)
        }

    def clean(self, stages: Iterable[Stage]) -> int:
        """Remove what may be removed of these stages' output; returns the number of bytes."""
        return sum(self._store.clean(stage.path) for stage in stages if self._may_go(stage.path))

    def _may_go(self, path: str) -> bool:
        stages = (path, *(taker.path for taker in self._takers[path]))
        return path in self._removable and all(self._store.record(one) is not None for one in stages)


def is_model(stage: Stage) -> bool:
    """Whether a stage makes a model from another one, so that it can be made again."""
    kind = kind_of(stage.work.kind)
    return kind.leaves_encoder and kind.starts_from_encoder


def peak(stages: Iterable[Stage], sizes: dict[str, int], keep: str) -> int:
    """The largest total size of the models on disk at any time when the stages run in this order; `sizes`: path of a
    stage -> bytes of the model that it leaves."""
    if keep == "all":
        return sum(sizes.values())
    waiting = [
        stage for stage in stages if stage.path in sizes or any(one.path in sizes for one in stage.inputs.values())
    ]
    left = Counter(source.path for stage in waiting for source in stage.inputs.values())
    held = most = 0
    for stage in waiting:
        held += sizes.get(stage.path, 0)
        most = max(most, held)
        for source in stage.inputs.values():
            left[source.path] -= 1
            held -= sizes.get(source.path, 0) if left[source.path] == 0 and is_model(source) else 0
    return most
