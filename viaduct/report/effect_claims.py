"""The literature's claims about effects with their rules, fixed before any run; every number is a contrast of the page.

Scores are means over the languages other than English, and over the nine tasks if no task is named. A claimed gain
(in points over XLM-R large without intermediate training, on dev sets and with English) is confirmed only if the whole
interval lies within 1.5 points of it. A gain is *dramatic* at 5 points or more and *moderate* below, *almost every*
means 80 % of the intermediate tasks, *many* more than half, *none* less than half a point. "Shown" always means: after
correction for everything else that the page compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from viaduct.metrics.verdict import ALPHA, MARGIN
from viaduct.report.contrast import IN_ENGLISH, Contrast
from viaduct.report.evidence import (
    Arms,
    Claim,
    Evidence,
    Finding,
    Pairs,
    Provenance,
    Rule,
    UndecidedError,
    UnrelatedError,
    basis,
    decided,
    mostly_higher,
    with_interval,
    with_intervals,
)
from viaduct.report.number import points
from viaduct.report.setup_claims import is_xlmr_large
from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES

TOLERANCE = 0.015
"""How far a true gain may lie from the claimed one and still confirm it: published numbers have errors of their own."""
DRAMATIC = 0.05
ALMOST_EVERY = 0.8
FEWEST_ARMS = 6
ANSWERS = ("xquad", "mlqa", "tydiqa")
BEST = ("mnli", "squad2", "squad", "hellaswag")
"""Claimed to be the best overall; SQuAD 1.1 only if there is no 2.0."""


def _gains(claimed: float, *roles: str) -> Rule:
    """The rule for one arm's gain over `none` on all targets; of several roles, the first that has an arm."""

    def rule(evidence: Evidence) -> Finding:
        role = next((role for role in roles if role in evidence.arms), roles[-1])
        arm, large = evidence.need(role), is_xlmr_large(evidence.about)
        if large is not True:
            error = UndecidedError if large is None else UnrelatedError
            raise error(f"the number is for XLM-R large, and this run uses {evidence.about.encoder}")
        one = evidence.contrast(arm, evidence.need(BASELINE))
        words = f"{role}: {with_interval(one)} over nine tasks, {points(claimed)} claimed; {basis(evidence)}"
        return _as_claimed(evidence, one, claimed, words)

    return rule


def _as_claimed(evidence: Evidence, one: Contrast, claimed: float, words: str) -> Finding:
    """Supported if the interval lies within the claimed gain's tolerance, contradicted if it lies outside; both must
    also hold with the page's correction."""
    low, high = one.estimate.interval or (-1.0, 1.0)
    bottom, top = claimed - TOLERANCE, claimed + TOLERANCE
    above, below = evidence.p_more(one, bottom) < ALPHA, evidence.p_less(one, top) < ALPHA
    beyond = (high < bottom and evidence.p_less(one, bottom) < ALPHA) or (
        low > top and evidence.p_more(one, top) < ALPHA
    )
    return decided(words, supported=bottom <= low and high <= top and above and below, contradicted=beyond)


def _several(evidence: Evidence) -> dict[str, str]:
    """Role -> arm of the intermediate tasks; a claim about many of them needs at least six."""
    arms = evidence.text_arms()
    if not arms:
        raise UnrelatedError("no arm trains on an intermediate task")
    if len(arms) < FEWEST_ARMS:
        raise UndecidedError(f"needs at least {FEWEST_ARMS} intermediate tasks, has {len(arms)}")
    return arms


def _per_arm(evidence: Evidence, task: str) -> dict[str, Contrast]:
    """Intermediate task -> its arm's difference from `none` on one target, or in English (`IN_ENGLISH`)."""
    none = evidence.need(BASELINE)
    return {role: evidence.contrast(arm, none, task) for role, arm in _several(evidence).items()}


def _listed(found: Mapping[str, Contrast]) -> str:
    return ", ".join(f"{role} {points(one.mean)}" for role, one in found.items())


def retrieval(evidence: Evidence) -> Finding:
    """C08: on both tasks, at least 80 % of the intermediate tasks are shown to gain 5 points or more; contradicted if
    on either of them more than 20 % are shown to gain less."""
    tasks = ("bucc", "tatoeba")
    shares, impossible, words = [], [], []
    for task in tasks:
        arms = _per_arm(evidence, task)
        gaining = [one for one in arms.values() if evidence.p_more(one, DRAMATIC) < ALPHA]
        shares.append(len(gaining) / len(arms))
        impossible.append(sum(evidence.p_less(one, DRAMATIC) < ALPHA for one in arms.values()) / len(arms))
        words.append(f"{task}: {len(gaining)} of {len(arms)} gain {points(DRAMATIC)} or more ({_listed(arms)})")
    why = f"{'; '.join(words)}; {basis(evidence, tasks)}"
    return decided(why, supported=min(shares) >= ALMOST_EVERY, contradicted=max(impossible) > 1 - ALMOST_EVERY)


def tydiqa(evidence: Evidence) -> Finding:
    """C10: more than half of the intermediate tasks gain; contradicted if at least half are shown to gain less than
    half a point."""
    found = _per_arm(evidence, "tydiqa")
    gaining = sum(one.verdict == "higher" for one in found.values())
    little = sum(map(evidence.no_gain, found.values()))
    why = f"{gaining} of {len(found)} gain ({_listed(found)}); {basis(evidence, ['tydiqa'])}"
    return decided(why, supported=2 * gaining > len(found), contradicted=2 * little >= len(found))


def xnli(evidence: Evidence) -> Finding:
    """C11: every intermediate task is shown to gain less than half a point (one that harms XNLI does not gain either);
    contradicted if any is shown to gain more."""
    found = _per_arm(evidence, "xnli")
    less = sum(map(evidence.no_gain, found.values()))
    same = sum(one.verdict == "equivalent" for one in found.values())
    gaining = sum(evidence.p_more(one, MARGIN) < ALPHA for one in found.values())
    why = (
        f"less than half a point is gained by {less} of {len(found)}, {same} of them equivalent within half a point; "
        f"more is gained by {gaining} ({_listed(found)}); "
        f"{basis(evidence, ['xnli'])}"
    )
    return decided(why, supported=less == len(found), contradicted=gaining > 0)


def answers(evidence: Evidence) -> Finding:
    """C23: of all intermediate tasks on the three question answering tasks, more than half of the gains are shown to be
    above 0 and below 5 points; contradicted if more than half are shown to be none, or 5 points or more."""
    moderate, other, total, words = 0, 0, 0, []
    for task in ANSWERS:
        found = _per_arm(evidence, task)
        words.append(f"{task}: {_listed(found)}")
        for one in found.values():
            total += 1
            moderate += one.verdict == "higher" and evidence.p_less(one, DRAMATIC) < ALPHA
            other += evidence.no_gain(one) or evidence.p_more(one, DRAMATIC) < ALPHA
    why = f"{moderate} of {total} gains are moderate, {other} absent or dramatic ({'; '.join(words)})"
    why += f"; {basis(evidence, ANSWERS)}"
    return decided(why, supported=2 * moderate > total, contradicted=2 * other > total)


def best_pairs(arms: Arms) -> Sequence[tuple[str, str]]:
    """Each of the three tasks claimed to be best against every other intermediate task; () if there are too few."""
    best = [role for role in BEST if role in arms and not (role == "squad" and "squad2" in arms)]
    others = [role for role in INTERMEDIATES if role in arms and role not in BEST]
    if len(best) < 3 or len(best) + len(others) < FEWEST_ARMS:
        return ()
    return [(arms[one], arms[other]) for one in best for other in others]


def best_overall(evidence: Evidence) -> Finding:
    """C24: each of the three is higher than every other intermediate task; contradicted if any of them is lower than
    another task."""
    pairs = best_pairs(evidence.arms)
    if not pairs:
        raise UnrelatedError("it has no arms for MNLI, SQuAD and HellaSwag with three others to compare")
    found = [evidence.contrast(*pair) for pair in pairs]
    higher = sum(one.verdict == "higher" for one in found)
    lower = [f"{one.arm} than {one.against}" for one in found if one.verdict == "lower"]
    why = f"they are higher in {higher} of {len(found)} comparisons with other tasks, lower in {len(lower)}"
    why += f" ({', '.join(lower)})" if lower else ""
    return decided(f"{why}; {basis(evidence)}", supported=higher == len(found), contradicted=bool(lower))


def in_english(evidence: Evidence) -> Finding:
    """C25: more than half of the intermediate tasks gain in English; contradicted if more than half are shown to gain
    less than half a point."""
    found = _per_arm(evidence, IN_ENGLISH)
    gaining = [role for role, one in found.items() if one.verdict == "higher"]
    little = [role for role, one in found.items() if evidence.no_gain(one)]
    why = f"in English, {len(gaining)} of {len(found)} gain ({_listed(found)}); {basis(evidence)}"
    return decided(why, supported=2 * len(gaining) > len(found), contradicted=2 * len(little) > len(found))


def _variants(pattern: str) -> Pairs:
    """Pairs of plain English training and its variant, for each intermediate task that has both."""

    def pairs(arms: Arms) -> Sequence[tuple[str, str]]:
        roles = [role for role in INTERMEDIATES if role in arms and pattern.format(role) in arms]
        return [(arms[role], arms[pattern.format(role)]) for role in roles]

    return pairs


def _compared(evidence: Evidence, pattern: str, words: str) -> tuple[list[Contrast], str]:
    """(plain minus variant for each intermediate task that has both, the numbers in words)."""
    pairs = _variants(pattern)(evidence.arms)
    if not pairs:
        raise UnrelatedError(f"no intermediate task has both an arm of its own and one {words}")
    found = [evidence.contrast(*pair) for pair in pairs]
    return found, f"{with_intervals(found)}; {basis(evidence)}"


def _beats(pattern: str, words: str) -> Rule:
    """Plain training beats its variant: higher for more than half of the intermediate tasks and lower for none;
    contradicted if it is shown to be no better for more than half."""

    def rule(evidence: Evidence) -> Finding:
        return mostly_higher(evidence, *_compared(evidence, pattern, words))

    return rule


def _not_consistently_better(pattern: str, words: str) -> Rule:
    """The variant is not better for every intermediate task: supported by any task for which plain training is higher,
    or less than half a point lower; contradicted if it is lower for all of them, which must be at least two."""

    def rule(evidence: Evidence) -> Finding:
        found, why = _compared(evidence, pattern, words)
        no_better = [
            one
            for one in found
            if one.verdict == "higher" or (not one.meaningless and evidence.p_more(one, -MARGIN) < ALPHA)
        ]
        always = len(found) > 1 and all(one.verdict == "lower" for one in found)
        return decided(why, supported=bool(no_better), contradicted=always)

    return rule


_NUMBER = "all nine targets, 3 seeds, XLM-R large"
_SEVERAL = "6 intermediate tasks, 3 seeds"
_BOTH = "all nine targets, both arms, 3 seeds"
_WITHIN = "the whole interval within 1.5 points of the number"
_MOST = "differences above 0, for more than half of the intermediate tasks"
_REPLAY = ("{}+replay", "with multilingual masked LM alongside")
_TRANSLATED = ("{}_translated", "machine-translated")
_SYNTHESIS = "our synthesis of arXiv 2005.13013"


def _number(name: str, text: str, claimed: float, *roles: str) -> Claim:
    return Claim(name, text, _WITHIN, _gains(claimed, *roles), _NUMBER, provenance="unverified")


def _against(name: str, text: str, rule: Callable[[str, str], Rule], variant: tuple[str, str], *, ours: bool) -> Claim:
    """A claim about plain training and a variant of it: (pattern of its roles, what it is in words)."""
    how = "more than half of the intermediate tasks, none the other way" if ours else "at least one intermediate task"
    source = _SYNTHESIS if ours else "arXiv 2005.13013"
    provenance: Provenance = "synthesis" if ours else "read"
    return Claim(name, text, how, rule(*variant), _BOTH, "effect", source, provenance, _variants(variant[0]))


CLAIMS = (
    _number("C04", "Training on SQuAD first gains 8.2 points on average", 0.082, "squad2", "squad"),
    _number("C05", "Training on MNLI first gains 7.5 points on average", 0.075, "mnli"),
    _number("C06", "Training on HellaSwag first gains 7.0 points on average", 0.070, "hellaswag"),
    _number("C07", "All nine intermediate tasks together gain 8.7 points on average", 0.087, "all_nine"),
    Claim(
        "C08",
        "BUCC and Tatoeba gain dramatically after almost every intermediate task",
        "5 points or more, shown for 80 % of the intermediate tasks on both",
        retrieval,
        _SEVERAL,
    ),
    Claim(
        "C10",
        "TyDiQA gains consistently after many intermediate tasks",
        _MOST,
        tydiqa,
        _SEVERAL,
        provenance="unverified",
    ),
    Claim(
        "C11",
        "XNLI does not gain",
        "less than half a point, shown for every intermediate task",
        xnli,
        _SEVERAL,
        provenance="unverified",
    ),
    _against(
        "C13", "English intermediate training beats adding multilingual masked LM to it", _beats, _REPLAY, ours=True
    ),
    _against("C14", "English intermediate data beat machine-translated ones", _beats, _TRANSLATED, ours=True),
    _against(
        "C21",
        "Adding multilingual masked LM to intermediate training is not consistently better than leaving it out",
        _not_consistently_better,
        _REPLAY,
        ours=False,
    ),
    _against(
        "C22",
        "Machine-translated intermediate data are not consistently better than English ones",
        _not_consistently_better,
        _TRANSLATED,
        ours=False,
    ),
    Claim(
        "C23",
        "Question answering gains moderately",
        "above 0 and below 5 points, for more than half of the intermediate tasks on XQuAD, MLQA and TyDiQA",
        answers,
        _SEVERAL,
    ),
    Claim(
        "C24",
        "MNLI, SQuAD and HellaSwag are the best intermediate tasks overall",
        "each higher than every other intermediate task",
        best_overall,
        f"all nine targets, {_SEVERAL}",
        pairs=best_pairs,
    ),
    Claim(
        "C25",
        "Intermediate training helps in English too",
        "differences in English, mean over the tasks that have it, for more than half of the intermediate tasks",
        in_english,
        _SEVERAL,
        provenance="unverified",
    ),
)
