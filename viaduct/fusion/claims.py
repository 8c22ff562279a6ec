"""Claims of arXiv 2009.05166 that a run can decide, and the open question, with rules fixed before any run.

The paper chose checkpoints on target-language dev, which is not zero-shot; arms here are chosen in English, and those
that are not have no role. All contrasts are those of the report, with its correction, on the five tasks for which
XTREME has translations, as far as the run has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from viaduct.report.contrast import Contrast
from viaduct.report.evidence import (
    Arms,
    Claim,
    Evidence,
    Finding,
    Pairs,
    Rule,
    UnrelatedError,
    basis,
    mostly_higher,
    with_interval,
)
from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES

TASKS = ("xnli", "pawsx", "xquad", "mlqa", "tydiqa")
"""Tasks for which XTREME has translations."""

_WORDS = {
    "translate_train": "trained on English and all translations",
    "filter": "trained on rows and translations together, predicting with translations",
    "filter_taught": "like filter, with self-teaching",
    "filter_alone": "trained on rows and translations together, predicting without translations",
    "filter_taught_alone": "like filter_alone, with self-teaching",
}
ROLES = {
    **_WORDS,
    **{
        f"{task}+{name}": f"trained on {task}, then {words}" for task in INTERMEDIATES for name, words in _WORDS.items()
    },
}
"""Role -> what an arm with this role does."""


def _pair(first: str, second: str) -> Pairs:
    def pairs(arms: Arms) -> Sequence[tuple[str, str]]:
        return [(arms[first], arms[second])] if first in arms and second in arms else []

    return pairs


def _gains(first: str, second: str) -> Rule:
    """Supported if the first is higher on more than half of the tasks that the run has, and lower on none; contradicted
    if it is shown to gain less than half a point on more than half."""

    def rule(evidence: Evidence) -> Finding:
        found = _compared(evidence, evidence.need(first), evidence.need(second))
        return mostly_higher(evidence, found.values(), _told(evidence, found))

    return rule


def _compared(evidence: Evidence, arm: str, against: str) -> dict[str, Contrast]:
    tasks = [task for task in TASKS if task in evidence.about.tasks]
    if not tasks:
        raise UnrelatedError("it has none of the tasks that have translations")
    return {task: evidence.contrast(arm, against, task) for task in tasks}


def _told(evidence: Evidence, found: dict[str, Contrast]) -> str:
    words = "; ".join(f"{task}: {one.arm} minus {one.against} {with_interval(one)}" for task, one in found.items())
    return f"{words}; {basis(evidence, tuple(found))}"


def _after_pairs(arms: Arms) -> Sequence[tuple[str, str]]:
    asked = [
        (f"{task}+{name}", f"{task}+translate_train") for task in INTERMEDIATES for name in ("filter", "filter_alone")
    ]
    return [(arms[one], arms[other]) for one, other in asked if one in arms and other in arms]


def _after(evidence: Evidence) -> Finding:
    """After an intermediate task: supported if fusion is higher than plain translate-train after the same task in more
    than half of the comparisons, and lower in none; contradicted if it gains less than half a point in more than half.
    """
    pairs = _after_pairs(evidence.arms)
    if not pairs:
        raise UnrelatedError("no intermediate task has both an arm with fusion and one with plain translate-train")
    found = {
        f"{one}, {task}": contrast for one, other in pairs for task, contrast in _compared(evidence, one, other).items()
    }
    words = "; ".join(f"{name}: {with_interval(one)}" for name, one in found.items())
    return mostly_higher(evidence, found.values(), words)


_NEEDS = "both arms, XNLI, PAWS-X, XQuAD, MLQA and TyDiQA as far as the run has them, 3 seeds"
_HOW = "differences above 0 on more than half of these tasks, and below 0 on none"


def _claim(name: str, text: str, first: str, second: str) -> Claim:
    return Claim(name, text, _HOW, _gains(first, second), _NEEDS, source="arXiv 2009.05166", pairs=_pair(first, second))


CLAIMS = (
    _claim("F1", "FILTER, with translations at inference, beats zero-shot transfer", "filter", BASELINE),
    _claim("F2", "FILTER, with translations at inference, beats plain translate-train", "filter", "translate_train"),
    _claim("F3", "Self-teaching improves FILTER", "filter_taught", "filter"),
    Claim(
        "F4",
        "Fusion still gains over plain translate-train after an intermediate task",
        _HOW,
        _after,
        _NEEDS,
        source="open",
        provenance="open",
        pairs=_after_pairs,
    ),
)
