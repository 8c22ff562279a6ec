"""Verdicts on differences under multiple comparisons, by rules that were fixed before any run.

Comparisons that answer one question form one step (all arms in the mean over tasks, say), and in each step the
probability of any wrong verdict is at most 5 %. A comparison has two hypotheses that cannot both be true, "no
difference" and "a difference of the margin or more", so in a step of k comparisons at most k are true at the same time,
and both are tested at 5 % / k. A comparison passes its share to the others (as in Holm 1979) only once its difference
is shown to be larger than the margin: after that neither of its hypotheses can be rejected wrongly.

A difference is *higher* or *lower* if the p-value of no difference, times k, is below 0.05; else *equivalent* if the
p-value of a difference of half a point or more (two one-sided tests, Schuirmann 1987), times k, is; else there is *no
measurable difference*. With fewer than three seeds, without outcomes by example, or if seeds do not differ, there is
*no verdict*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from viaduct.metrics.difference import Estimate

ALPHA = 0.05
"""The level of all tests."""
MARGIN = 0.005
"""Half a point: a smaller difference counts as none."""

Verdict: TypeAlias = Literal["higher", "lower", "equivalent", "no measurable difference", "no verdict"]


@dataclass(frozen=True)
class Decision:
    """The result for one comparison of a step."""

    verdict: Verdict
    comparisons: int
    """The number of comparisons by which p-values were multiplied."""
    p_value: float | None
    """Corrected p-value of no difference in these languages; like the next two, None if there is no verdict."""
    p_equivalence: float | None
    p_like_these: float | None
    """Corrected p-value of no difference in languages like these, at least `p_value`; 1 if these languages cannot show
    one (`Estimate.like_these` is None)."""
    like_these: bool = False
    """Whether the verdict is for languages like these."""

    @property
    def p_deciding(self) -> float | None:
        """The p-value of no difference in the languages that the verdict is for."""
        return self.p_like_these if self.like_these else self.p_value

    @property
    def holds_beyond(self) -> bool:
        """Whether the difference is found for languages like these, not only for these languages."""
        return self.verdict in ("higher", "lower") and self.p_like_these is not None and self.p_like_these < ALPHA

    @property
    def stars(self) -> str:
        """One star for a p-value below 0.05, two below 0.01, three below 0.001."""
        p_value = self.p_deciding
        return "" if p_value is None else "*" * sum(p_value < limit for limit in (0.05, 0.01, 0.001))


def decide(
    step: Sequence[Estimate],
    *,
    meaningful: Sequence[bool] = (),
    like_these: bool = False,
    declared: int = 0,
) -> list[Decision]:
    """A decision for each comparison of one step.

    `meaningful`: for each comparison, whether "equivalent" would mean anything; () means yes for all. `like_these`: a
    difference is only found if it holds for languages like these, and "equivalent" is not possible. `declared`: how
    many comparisons of this step were declared before the run. Those without a result yet also count in the correction;
    otherwise a run examined early would claim more than it can sustain.
    """
    shares = _shares(step, declared)
    asked = [wanted and not like_these for wanted in meaningful or [True] * len(step)]
    return [
        _decision(one, comparisons, wanted, like_these)
        for one, comparisons, wanted in zip(step, shares, asked, strict=True)
    ]


def _shares(step: Sequence[Estimate], declared: int) -> list[int]:
    """For each comparison, the number still open when it was decided."""
    still = {number for number, one in enumerate(step) if one.spread is not None}
    waiting = max(0, declared - len(still))
    shares = [max(1, len(still) + waiting)] * len(step)
    while still:
        level = ALPHA / (len(still) + waiting)
        large = {n for n in still if 2 * min(step[n].p_above(MARGIN), step[n].p_below(-MARGIN)) < level}
        for number in still:
            shares[number] = len(still) + waiting
        still -= large
        if not large:
            break
    return shares


def _decision(one: Estimate, comparisons: int, meaningful: bool, like_these: bool) -> Decision:
    if one.p_value is None:
        return Decision("no verdict", comparisons, None, None, None, like_these)
    p_value, p_equivalence, p_like_these = (
        min(1.0, comparisons * value)
        for value in (
            one.p_value,
            max(one.p_above(-MARGIN), one.p_below(MARGIN)),
            1.0 if one.like_these is None else one.like_these,
        )
    )
    verdict: Verdict = "no measurable difference"
    if (p_like_these if like_these else p_value) < ALPHA:
        verdict = "higher" if one.mean > 0 else "lower"
    elif meaningful and p_equivalence < ALPHA:
        verdict = "equivalent"
    return Decision(verdict, comparisons, p_value, p_equivalence, p_like_these, like_these)
