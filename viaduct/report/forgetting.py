"""The section on what joint stages changed in the encoder, and what it forgot of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import Retained, StageRetained

RETAINED = StageFile("retained", "joint", "retention.json", StageRetained, "retained")


def _build(found: RunResults) -> Content | None:
    arms: dict[str, list[Retained]] = {}
    for one in found.of(RETAINED):
        arms.setdefault(one.arm, []).append(one.retained)
    lines = [{"arm": arm, **_line(members)} for arm, members in arms.items()]
    return Content({"lines": lines}) if lines else None


def _line(members: Sequence[Retained]) -> dict[str, Any]:
    """How far an arm's stage moved the encoder, means over seeds. Without replayed text there are no losses (means over
    languages, in nats), no language that lost most, and no similarities by layer."""
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
    title="What the stages changed and forgot",
    place=550,
    template=Path(__file__).with_name("forgetting.html.j2"),
    build=_build,
    reads=(RETAINED,),
)
