"""The section on what the arms' stages learned on their own tasks, changed in the encoder, and forgot about text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import ConfigDict

from viaduct.metrics.summary import over_seeds
from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import Record, Retained, StageRetained


class Trained(Record):
    """The log of a training (`viaduct.training.state.write_log`), as far as this section shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    best_step: int | None = None
    """None in records without a choice of checkpoint."""
    evaluations: tuple[dict[str, float], ...]
    """One entry per evaluation: "step", "loss" and, if it was on English dev, "score"."""

    @property
    def score(self) -> float | None:
        """Dev score of the weights that were kept; None if there is none."""
        return next((one.get("score") for one in self.evaluations if one["step"] == self.best_step), None)


class StageTrained(Record):
    """The training log of one arm and seed."""

    arm: str
    seed: int
    path: str
    trained: Trained


NOT_NAMED = r"^[^/]*/|seed-\d+/|@[0-9a-f]+$"
"""Parts of a stage's path that are not shown: the encoder, the seed, and what sets it apart from another run's."""

RETAINED = StageFile("retained", "joint", "retention.json", StageRetained, "retained")
TRAINED = StageFile("trained", "", "training.json", StageTrained, "trained")


def _build(found: RunResults) -> Content | None:
    arms: dict[str, list[Retained]] = {}
    for one in found.of(RETAINED):
        arms.setdefault(one.arm, []).append(one.retained)
    lines = [{"arm": arm, **_line(members)} for arm, members in arms.items()]
    learned = _learned(found)
    return Content({"lines": lines, "learned": learned}) if lines or learned else None


def _learned(found: RunResults) -> list[dict[str, Any]]:
    """Arm, stage and the dev score over seeds, for each training that arms start from: one that belongs to no target,
    or one that another arm trains for a target (MNLI for XNLI)."""
    costs = {cost.path: cost for cost in found.costs}
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for one in found.of(TRAINED):
        cost, score = costs.get(one.path), one.trained.score
        if cost is not None and score is not None:
            stage = " · ".join(re.sub(NOT_NAMED, "", one.path).split("/"))
            for arm in (arm for arm in cost.arms or () if not cost.task or arm != cost.arm):
                scores.setdefault((arm, stage), {})[one.seed] = score
    return [{"arm": arm, "stage": stage, "score": over_seeds(its)} for (arm, stage), its in scores.items()]


def _line(members: Sequence[Retained]) -> dict[str, Any]:
    """How far an arm's stage moved the encoder, means over seeds. Without replayed text there are no losses (means over
    languages, in nats), no language whose loss rose most, and no similarities by layer."""
    codes = sorted(members[0].before)
    rise = {code: fmean(one.after[code] - one.before[code] for one in members) for code in codes}
    return {
        "distance": fmean(one.distance for one in members),
        "before": fmean(fmean(one.before.values()) for one in members) if codes else None,
        "after": fmean(fmean(one.after.values()) for one in members) if codes else None,
        "worst": max(codes, key=rise.__getitem__) if codes else "",
        "similarity": tuple(map(fmean, zip(*(one.similarity for one in members), strict=True))),
    }


SECTION = Section(
    name="forgetting",
    title="What the stages learned, changed and forgot",
    place=550,
    template=Path(__file__).with_name("forgetting.html.j2"),
    build=_build,
    reads=(RETAINED, TRAINED),
)
