"""The section on what joint stages changed in the encoder, and what it forgot of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import StageRetained

RETAINED = StageFile("retained", "joint", "retention.json", StageRetained, "retained")


@dataclass(frozen=True)
class ForgettingLine:
    """How far an arm's stage moved the encoder, means over seeds."""

    arm: str
    distance: float
    before: float | None
    """Masked-LM loss, mean over languages, in nats; None without replayed text."""
    after: float | None
    worst: str
    """Language whose loss rose most; "" without replayed text."""
    similarity: tuple[float, ...]
    """By layer, embeddings first: linear CKA of states before and after; () without replayed text."""


def forgetting(retained: Sequence[StageRetained]) -> tuple[ForgettingLine, ...]:
    """A line per arm."""
    arms: dict[str, list[StageRetained]] = {}
    for one in retained:
        arms.setdefault(one.arm, []).append(one)
    return tuple(_line(arm, members) for arm, members in arms.items())


def _line(arm: str, members: Sequence[StageRetained]) -> ForgettingLine:
    codes = sorted(members[0].retained.before)
    rise = {code: fmean(one.retained.after[code] - one.retained.before[code] for one in members) for code in codes}
    return ForgettingLine(
        arm=arm,
        distance=fmean(one.retained.distance for one in members),
        before=fmean(fmean(one.retained.before.values()) for one in members) if codes else None,
        after=fmean(fmean(one.retained.after.values()) for one in members) if codes else None,
        worst=max(codes, key=rise.__getitem__) if codes else "",
        similarity=tuple(map(fmean, zip(*(one.retained.similarity for one in members), strict=True))),
    )


def _build(found: RunResults) -> Content | None:
    lines = forgetting(found.of(RETAINED))
    return Content({"lines": lines}) if lines else None


SECTION = Section(
    name="forgetting",
    title="Forgetting",
    place=550,
    template=Path(__file__).with_name("forgetting.html.j2"),
    build=_build,
    reads=(RETAINED,),
)
