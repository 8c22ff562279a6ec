"""Which differences are found, where many are looked at: verdicts whose rules were fixed before any run.

Comparisons that answer one question stand in one step (all arms in the mean over tasks, say), and in each step the
probability of any wrong verdict is at most 5 %. A comparison has two hypotheses that cannot both be true, "no
difference" and "a difference of the margin or more", so a step of k comparisons has at most k true ones at a time and
both are tested at 5 % / k. A comparison leaves its share to the others (as in Holm 1979) only once its difference is
shown to be larger than the margin: after that neither of its hypotheses can be rejected wrongly.

A difference is *higher* or *lower* where the p-value of no difference, times k, is below 0.05; else *equivalent* where
that of a difference of half a point or more (two one-sided tests, Schuirmann 1987) is; else there is *no measurable
difference*. With fewer than three seeds, without outcomes by example, or where seeds do not differ, there is *no
verdict*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from viaduct.metrics.difference import Estimate

ALPHA = 0.05
"""The level of all tests."""
MARGIN = 0.005
"""Half a point: a smaller difference is called none."""

Verdict: TypeAlias = Literal["higher", "lower", "equivalent", "no measurable difference", "no verdict"]


@dataclass(frozen=True)
class Decision:
    """What a step of comparisons says about one of them."""

    verdict: Verdict
    comparisons: int
    """What p-values were multiplied by."""
    p_value: float | None
    """Of no difference in these languages, so multiplied; None without verdict, as the next two."""
    p_equivalence: float | None
    p_like_these: float | None
    """Of no difference in languages like these, at least that of these; 1 where these languages cannot say."""
    like_these: bool = False
    """Whether the verdict is for languages like these."""

    @property
    def p_deciding(self) -> float | None:
        """Of no difference in the languages that the verdict is for."""
        return self.p_like_these if self.like_these else self.p_value

    @property
    def holds_beyond(self) -> bool:
        """Whether the difference is found for languages like these, not only for these."""
        return self.verdict in ("higher", "lower") and self.p_like_these is not None and self.p_like_these < ALPHA

    @property
    def stars(self) -> str:
        """One star for a p-value below 0.05, two below 0.01, three below 0.001."""
        p_value = self.p_deciding
        return "" if p_value is None else "*" * sum(p_value < limit for limit in (0.05, 0.01, 0.001))


def decide(
    step: Sequence[Estimate],
    *,
    margin: float = MARGIN,
    meaningful: Sequence[bool] = (),
    like_these: bool = False,
    declared: int = 0,
) -> list[Decision]:
    """A decision for each comparison of one step.

    `meaningful`: whether "equivalent" would mean anything, for each; () for all. `like_these`: a difference is found
    only where it is found for languages like these, and "equivalent" cannot be. `declared`: how many comparisons of
    this step were declared before the run; those without a result yet are corrected for too, or a run that is looked
    at early would say more than it can keep.
    """
    shares = _shares(step, margin, declared)
    asked = [wanted and not like_these for wanted in meaningful or [True] * len(step)]
    return [
        _decision(one, comparisons, margin, wanted, like_these)
        for one, comparisons, wanted in zip(step, shares, asked, strict=True)
    ]


def _shares(step: Sequence[Estimate], margin: float, declared: int) -> list[int]:
    """For each comparison, how many were still open when it was decided."""
    still = {number for number, one in enumerate(step) if one.spread is not None}
    waiting = max(0, declared - len(still))
    shares = [max(1, len(still) + waiting)] * len(step)
    while still:
        level = ALPHA / (len(still) + waiting)
        large = {n for n in still if 2 * min(step[n].p_above(margin), step[n].p_below(-margin)) < level}
        for number in still:
            shares[number] = len(still) + waiting
        still -= large
        if not large:
            break
    return shares


def _decision(one: Estimate, comparisons: int, margin: float, meaningful: bool, like_these: bool) -> Decision:
    if one.p_value is None:
        return Decision("no verdict", comparisons, None, None, None, like_these)
    p_value, p_equivalence, p_like_these = (
        min(1.0, comparisons * value)
        for value in (
            one.p_value,
            max(one.p_above(-margin), one.p_below(margin)),
            1.0 if one.like_these is None else one.like_these,
        )
    )
    verdict: Verdict = "no measurable difference"
    if (p_like_these if like_these else p_value) < ALPHA:
        verdict = "higher" if one.mean > 0 else "lower"
    elif meaningful and p_equivalence < ALPHA:
        verdict = "equivalent"
    return Decision(verdict, comparisons, p_value, p_equivalence, p_like_these, like_these)
