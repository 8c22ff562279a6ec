"""Settings whose training ends in non-finite numbers: a sweep continues without them, and reports it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from viaduct.runs.plan import Plan
from viaduct.runs.stage import Stage


def is_spared(plan: Plan, stage: Stage, is_given_up: Callable[[Stage], bool]) -> bool:
    """Whether every arm and task that needs a stage has another setting that is not given up itself."""
    left: dict[tuple[str, str], set[str]] = {}
    lost: dict[tuple[str, str], set[str]] = {}
    for cell in plan.cells:
        key, needed = (cell.arm, cell.target.task), list(_upstream(cell.score))
        left.setdefault(key, set()).add(cell.setting)
        if stage in needed or any(map(is_given_up, needed)):
            lost.setdefault(key, set()).add(cell.setting)
    return bool(lost) and all(left[key] > settings for key, settings in lost.items())


def _upstream(stage: Stage) -> Iterator[Stage]:
    """A stage and everything it depends on."""
    yield stage
    for source in stage.inputs.values():
        yield from _upstream(source)
