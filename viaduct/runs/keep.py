"""What a store may lose while a run goes on: models that nothing left to do needs, and predictions that are scored.

Results stay whatever is removed: scores, outcomes by example, costs and training curves. A stage that was cleaned is
done as long as nothing that is to be run takes what it left; then it is done again (`viaduct.runs.kept`).
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
"""As which a score stage takes them."""


class Cleaning:
    """Removes from a store what a plan needs no more: with "needed" models, with "scores" predictions, too. The encoder
    that a recipe pretrains stays: all else begins with it."""

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
        """Bytes that were removed of what these stages left."""
        return sum(self._store.clean(stage.path) for stage in stages if self._may_go(stage.path))

    def _may_go(self, path: str) -> bool:
        stages = (path, *(taker.path for taker in self._takers[path]))
        return path in self._removable and all(self._store.record(one) is not None for one in stages)


def is_model(stage: Stage) -> bool:
    """Whether a stage makes a model of another one, which can be made again."""
    kind = kind_of(stage.work.kind)
    return kind.leaves_encoder and kind.starts_from_encoder


def peak(stages: Iterable[Stage], sizes: dict[str, int], keep: str) -> int:
    """The most bytes of models (path of a stage -> what it leaves) that are there at once when the stages are done in
    this order."""
    if keep == "all":
        return sum(sizes.values())
    waiting = [stage for stage in stages if stage.path in sizes or any(one.path in sizes for one in _inputs(stage))]
    left = Counter(source.path for stage in waiting for source in _inputs(stage))
    held = most = 0
    for stage in waiting:
        held += sizes.get(stage.path, 0)
        most = max(most, held)
        for source in _inputs(stage):
            left[source.path] -= 1
            held -= sizes.get(source.path, 0) if left[source.path] == 0 and is_model(source) else 0
    return most


def _inputs(stage: Stage) -> tuple[Stage, ...]:
    return tuple(stage.inputs.values())
