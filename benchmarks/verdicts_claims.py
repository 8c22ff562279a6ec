"""Compares what the report's claims say about a simulated run with what is true in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from verdicts_world import Scenario, Truth, World, arm_names

from viaduct.report import claims
from viaduct.report.contrast import Contrasts
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.tasks.catalogue import Catalogue

TOLERANCE, DRAMATIC, NONE = 0.015, 0.05, 0.005
ANSWERS = ("xquad", "mlqa", "tydiqa")
BEST = ("mnli", "squad2", "hellaswag")
CONTROLS = ("caption_text_only", "caption_shuffled_caption", "caption_shuffled_image")

Differences = Mapping[str, Mapping[str, float]]
"""Role -> task -> true difference from the baseline `none`."""


def roles(scenario: Scenario) -> dict[str, str]:
    """Arm -> role."""
    return {BASELINE: BASELINE} | dict(zip(arm_names(scenario.arms)[1:], scenario.roles, strict=False))


def wrong(world: World, scenario: Scenario, found: Contrasts) -> list[str]:
    """Ids of the claims that the report calls "supported" or "contradicted" against the truth."""
    names = roles(scenario)
    judged = claims.judge(_about(scenario.seeds, scenario.arms), _rows(scenario.arms), found, names)
    true = {names[arm]: tasks for arm, tasks in world.truth.these.items() if arm in names}
    english = {names[arm]: value for arm, value in world.truth.english.items() if arm in names}
    said = {line.claim.id: line.verdict for line in judged.lines if line.verdict in ("supported", "contradicted")}
    unknown = sorted(said.keys() - TRUE.keys())
    if unknown:
        raise SystemExit(f"it is not defined when claim {unknown[0]} is true: add it to {__file__}")
    return [
        name
        for name, verdict in said.items()
        if (verdict == "supported") != TRUE[name](true, english, 0.0 if verdict == "supported" else NONE)
    ]


def _mean(true: Differences, role: str) -> float:
    return Truth.over(true[role], "")


def _texts(true: Differences) -> list[str]:
    return [role for role in INTERMEDIATES if role in true]


def _share(true: Differences, task: str, least: float) -> float:
    found = [true[role][task] > least for role in _texts(true)]
    return sum(found) / len(found)


Rule = Callable[[Differences, Mapping[str, float], float], bool]
"""(differences, English by role, the smallest value that counts as a difference) -> whether a claim is true. A
difference between 0 and half a point may be called either."""


def _gains(claimed: float, *names: str) -> Rule:
    def is_true(true: Differences, english: Mapping[str, float], least: float) -> bool:
        role = next(name for name in names if name in true)
        return abs(_mean(true, role) - claimed) <= TOLERANCE

    return is_true


def _moderate(true: Differences, english: Mapping[str, float], least: float) -> bool:
    found = [least < true[role][task] < DRAMATIC for role in _texts(true) for task in ANSWERS]
    return 2 * sum(found) > len(found)


def _best(true: Differences, english: Mapping[str, float], least: float) -> bool:
    others = [_mean(true, role) for role in _texts(true) if role not in (*BEST, "squad")]
    return min(_mean(true, role) for role in BEST) > max(others)


def _because(true: Differences, english: Mapping[str, float], least: float) -> bool:
    rise = _mean(true, "caption")
    return rise > least and all(rise - _mean(true, role) > least for role in CONTROLS)


def _with_text(true: Differences, english: Mapping[str, float], least: float) -> bool:
    alone = _mean(true, "caption")
    for text in _texts(true):
        joined, plain = f"caption+{text}", _mean(true, text)
        adds = joined in true and _mean(true, joined) - max(0.0, plain) > least
        if adds or (joined in true and min(alone, plain) > least and alone > plain - NONE + least):
            return True
    return False


def _english(true: Differences, english: Mapping[str, float], least: float) -> bool:
    return 2 * sum(english[role] > least for role in _texts(true)) > len(_texts(true))


TRUE: dict[str, Rule] = {
    "C04": _gains(0.082, "squad2", "squad"),
    "C05": _gains(0.075, "mnli"),
    "C06": _gains(0.070, "hellaswag"),
    "C07": _gains(0.087, "all_nine"),
    "C08": lambda true, english, least: min(_share(true, task, DRAMATIC) for task in ("bucc", "tatoeba")) >= 0.8,
    "C10": lambda true, english, least: _share(true, "tydiqa", least) > 0.5,
    "C11": lambda true, english, least: _share(true, "xnli", NONE) == 0,
    "C23": _moderate,
    "C24": _best,
    "C25": _english,
    "Q1": lambda true, english, least: _mean(true, "caption") > least,
    "Q2": _because,
    "Q4": _with_text,
}
"""Claim -> whether it is true, following the wording of its rule."""


@lru_cache(maxsize=8)
def _about(seeds: int, arms: int) -> About:
    named = {"recipe": "simulated", "hypothesis": "-", "command": "-", "encoder": "xlm-roberta-large", "created": "-"}
    nothing = {"encoder_details": {}, "substitutions": (), "data": (), "settings": {}, "versions": {}}
    numbers = tuple(range(1, seeds + 1))
    return About(**named, **nothing, arms=arm_names(arms), tasks=TARGETS, seeds=numbers, miniature=False)


@lru_cache(maxsize=8)
def _rows(arms: int) -> tuple[ResultRow, ...]:
    """One row per arm and task: the rules only look at splits and substitutions."""
    same = {"recipe": "simulated", "encoder": "xlm-roberta-large", "task_version": 1, "split": "test", "seed": 1}
    kept = {"n": 1, "n_missing": 0, "signature": "-", "selection": "last step", "substitution": None}
    return tuple(
        ResultRow(
            **same,
            **kept,
            arm=arm,
            task=task,
            language=Catalogue.builtin().task(task).languages[0],
            metric="score",
            headline=True,
            value=0.5,
            fingerprint="-",
        )
        for arm in arm_names(arms)
        for task in TARGETS
    )
