"""The literature's claims about effects with their rules, fixed before any run; every number comes from result rows.

Gains are in points of the macro score over XLM-R large without intermediate training, on dev sets but for C12.
Thresholds: a gain is *dramatic* from 5 points on, *almost every* means 80 % of the intermediate tasks, *many* more than
half, *none* less than half a point. Several tests of one claim are corrected by Holm.
"""

from __future__ import annotations

from collections.abc import Mapping

from viaduct.languages import ENGLISH
from viaduct.metrics.bootstrap import Estimate
from viaduct.metrics.significance import ALPHA, MARGIN, equivalence, holm
from viaduct.report.evidence import (
    Claim,
    Evidence,
    Finding,
    Rule,
    UndecidedError,
    arm_difference,
    basis,
    decided,
    everywhere,
    no_gain,
    with_interval,
)
from viaduct.report.number import points
from viaduct.report.setup_claims import is_xlmr_large
from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES, TARGETS

DRAMATIC = 0.05
ALMOST_EVERY = 0.8
FEWEST_ARMS = 6


def _gains(claimed: float, *roles: str) -> Rule:
    """The rule of one arm's gain over none on all targets; of several roles the first that has an arm."""

    def rule(evidence: Evidence) -> Finding:
        _require_xlmr_large(evidence)
        role = next((role for role in roles if evidence.arm(role) is not None), roles[-1])
        pair = (everywhere(evidence.need(role)), everywhere(evidence.need(BASELINE)))
        return _as_claimed(arm_difference(evidence, [pair]), claimed, f"{role}: ", basis(evidence))

    return rule


def _require_xlmr_large(evidence: Evidence) -> None:
    if not is_xlmr_large(evidence.about):
        raise UndecidedError(f"the number is of XLM-R large, and this run is of {evidence.about.encoder}")


def _as_claimed(found: Estimate, claimed: float, start: str, end: str) -> Finding:
    """Supported: a gain whose interval comes within half a point of the claimed number, which has an error of its own
    that nobody published; contradicted: the number lies further outside."""
    words = f"{start}{with_interval(found)} over nine tasks, {points(claimed)} claimed; {end}"
    if not found.low - MARGIN <= claimed <= found.high + MARGIN:
        return Finding("contradicted", words)
    if found.low > 0:
        return Finding("supported", words)
    raise UndecidedError(f"{words}: the interval holds both the claimed number and 0")


def _per_arm(evidence: Evidence, task: str) -> dict[str, Estimate]:
    """Intermediate task -> its arm's difference from none on one target."""
    arms = evidence.text_arms()
    if len(arms) < FEWEST_ARMS:
        raise UndecidedError(f"{len(arms)} of at least {FEWEST_ARMS} intermediate tasks")
    none = everywhere(evidence.need(BASELINE), [task])
    return {role: arm_difference(evidence, [(everywhere(arm, [task]), none)]) for role, arm in arms.items()}


def _listed(found: Mapping[str, Estimate]) -> str:
    return ", ".join(f"{role} {points(one.mean)}" for role, one in found.items())


def retrieval(evidence: Evidence) -> Finding:
    """C08: on both tasks, at least 80 % of the intermediate tasks gain (after Holm over all tests) 5 points or more."""
    tasks = ("bucc", "tatoeba")
    found = {task: _per_arm(evidence, task) for task in tasks}
    corrected = holm({f"{task} {role}": one.p_above(0.0) for task in tasks for role, one in found[task].items()})
    shares, impossible, words = [], [], []
    for task in tasks:
        arms = found[task]
        gaining = [r for r, one in arms.items() if corrected[f"{task} {r}"] < ALPHA and one.mean >= DRAMATIC]
        shares.append(len(gaining) / len(arms))
        impossible.append(sum(one.high < DRAMATIC for one in arms.values()) / len(arms))
        words.append(f"{task}: {len(gaining)} of {len(arms)} gain {points(DRAMATIC)} or more ({_listed(arms)})")
    why = f"{'; '.join(words)}; {basis(evidence, tasks)}"
    return decided(why, supported=min(shares) >= ALMOST_EVERY, contradicted=max(impossible) > 1 - ALMOST_EVERY)


def tydiqa(evidence: Evidence) -> Finding:
    """C10: more than half of the intermediate tasks gain (after Holm), or at least half gain less than half a point."""
    found = _per_arm(evidence, "tydiqa")
    corrected = holm({role: one.p_above(0.0) for role, one in found.items()})
    gaining = [role for role, value in corrected.items() if value < ALPHA]
    little = sum(one.high < MARGIN for one in found.values())
    why = f"{len(gaining)} of {len(found)} gain ({_listed(found)}); {basis(evidence, ['tydiqa'])}"
    return decided(why, supported=2 * len(gaining) > len(found), contradicted=2 * little >= len(found))


def xnli(evidence: Evidence) -> Finding:
    """C11: every intermediate task is shown to gain less than half a point (the upper of TOST's two tests; one that
    harms XNLI does not gain either); contradicted when any is shown to gain more, after Holm."""
    found = _per_arm(evidence, "xnli")
    more = holm({role: one.p_above(MARGIN) for role, one in found.items()})
    less = [role for role, one in found.items() if one.p_below(MARGIN) < ALPHA]
    same = [role for role in less if equivalence(found[role]).equivalent]
    gaining = [role for role, value in more.items() if value < ALPHA]
    why = (
        f"less than half a point is gained by {len(less)} of {len(found)}, of which {len(same)} change nothing "
        f"within half a point either way; more is gained by {len(gaining)} ({_listed(found)}); "
        f"{basis(evidence, ['xnli'])}"
    )
    return decided(why, supported=len(less) == len(found), contradicted=bool(gaining))


def best_per_target(evidence: Evidence) -> Finding:
    """C12: for each target the arm that is best on dev data, against none, on test data."""
    _require_xlmr_large(evidence)
    arms = [*evidence.text_arms().values(), *([arm] if (arm := evidence.arm("all_nine")) is not None else [])]
    if not arms:
        raise UndecidedError("no arm trains on an intermediate task")
    other = sorted({row.split for row in evidence.rows if row.task in TARGETS} - {"test"})
    if other:
        raise UndecidedError(f"the claim is about test sets, and these are results on {', '.join(other)}")
    best = {task: _best_on_dev(evidence, task, arms) for task in TARGETS}
    found = arm_difference(evidence, [(best, everywhere(evidence.need(BASELINE)))])
    chosen = ", ".join(f"{task} {arm}" for task, arm in best.items())
    return _as_claimed(found, 0.054, f"best on dev ({chosen}): ", basis(evidence))


def _best_on_dev(evidence: Evidence, task: str, arms: list[str]) -> str:
    """The arm with the best mean over seeds on dev: the task's own in English, else that of the card it is trained on;
    for retrieval, which has no English, in all languages; Tatoeba, which has no dev set, takes BUCC's choice."""
    card = evidence.card(task)
    for name in (task, card.trained_on, "bucc" if task == "tatoeba" else None):
        rows = [row for row in evidence.choosing if row.task == name and row.split == "dev" and row.headline]
        english = [row for row in rows if row.language == ENGLISH] or (rows if card.trained_on is None else [])
        values = {arm: [row.value for row in english if row.arm == arm] for arm in arms}
        if english:
            lacking = [arm for arm, found in values.items() if not found]
            if lacking:
                raise UndecidedError(f"{lacking[0]} has no dev score to choose by on {name}")
            return max(arms, key=lambda arm: sum(values[arm]) / len(values[arm]))
    raise UndecidedError(f"there are no dev scores to choose an arm for {task} by")


def _beats(other: str, words: str) -> Rule:
    """The rule of plain English training against its variant, in the mean over the intermediate tasks with both."""

    def rule(evidence: Evidence) -> Finding:
        roles = [r for r in INTERMEDIATES if evidence.arm(r) is not None and evidence.arm(other.format(r)) is not None]
        if not roles:
            raise UndecidedError(f"no intermediate task has both an arm of its own and one {words}")
        pairs = [(everywhere(evidence.need(role)), everywhere(evidence.need(other.format(role)))) for role in roles]
        found = arm_difference(evidence, pairs)
        why = f"plain less {words} ({', '.join(roles)}): {with_interval(found)}; {basis(evidence)}"
        return decided(why, supported=found.low > 0, contradicted=no_gain(found))

    return rule


_DEV = "all nine targets, 3 seeds, XLM-R large"
_SEVERAL = "6 intermediate tasks, 3 seeds"
_BOTH = "all nine targets, both arms, 3 seeds"
_MACRO = "macro difference, interval"


CLAIMS = (
    Claim(
        "C04",
        "SQuAD first gains 8.2 points on average",
        _MACRO,
        _gains(0.082, "squad2", "squad"),
        _DEV,
        provenance="from memory",
    ),
    Claim(
        "C05", "MNLI first gains 7.5 points on average", _MACRO, _gains(0.075, "mnli"), _DEV, provenance="from memory"
    ),
    Claim(
        "C06",
        "HellaSwag first gains 7.0 points on average",
        _MACRO,
        _gains(0.070, "hellaswag"),
        _DEV,
        provenance="from memory",
    ),
    Claim(
        "C07",
        "All nine intermediate tasks together gain 8.7 points on average",
        _MACRO,
        _gains(0.087, "all_nine"),
        _DEV,
        provenance="from memory",
    ),
    Claim(
        "C08",
        "BUCC and Tatoeba gain dramatically after almost every intermediate task",
        "differences above 0 after Holm, of 5 points or more, for 80 % of the intermediate tasks",
        retrieval,
        _SEVERAL,
    ),
    Claim(
        "C10",
        "TyDiQA gains consistently after many intermediate tasks",
        "differences above 0 after Holm, for more than half of the intermediate tasks",
        tydiqa,
        _SEVERAL,
        provenance="from memory",
    ),
    Claim(
        "C11",
        "XNLI does not gain",
        "the upper of the two tests of TOST around 0, margin half a point, for every intermediate task",
        xnli,
        _SEVERAL,
        provenance="from memory",
    ),
    Claim(
        "C12",
        "The best intermediate task for each target gains 5.4 points of the XTREME test average",
        "the official average, best chosen on English dev",
        best_per_target,
        "all nine targets with test labels, dev scores, 3 seeds, XLM-R large",
    ),
    Claim(
        "C13",
        "English intermediate training beats adding multilingual masked LM to it",
        "paired difference of the arms",
        _beats("{}+replay", "with multilingual MLM beside it"),
        _BOTH,
    ),
    Claim(
        "C14",
        "English intermediate data beat machine-translated ones",
        "paired difference of the arms",
        _beats("{}_translated", "machine-translated"),
        _BOTH,
    ),
)
