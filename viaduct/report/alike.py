"""Whether compared arms were computed under the same conditions: versions, device, precision and threads of stages.

Each stage is compared with its counterpart: the same kind of stage for the same target and seed. A change between
training and prediction, or between two seeds, that is the same in both arms is no difference between the arms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from viaduct.report.number import listed, plural
from viaduct.results.record import BASELINE, StageCost

TRAINING = "training"
ROLES = {"predict": "prediction", "score": "scoring"}
"""Kind of stage -> its role in a comparison; all other kinds train."""
LISTED = ("machine",)
"""Shown, but not counted as a difference: another processor of the same kind rounds sums in another order."""
COMPUTED = ("device", *LISTED, "precision", "threads")
"""Facts recorded about stages that compute; all other facts are versions, by package name."""


class Place(NamedTuple):
    """Position of a stage in an arm; the stage at the same position in another arm is its counterpart."""

    role: str
    kind: str
    task: str
    """"" for stages shared by several targets."""
    seed: int


Values = dict[Place, set[str]]
Conditions = Mapping[str, Values]
"""Fact ("device", "torch") -> place -> its values there."""


def conditions(costs: Iterable[StageCost]) -> dict[str, Conditions]:
    """Arm -> the conditions under which its stages were computed, including stages shared with other arms.

    Packages that were not installed, and values that older records lack, are left out.
    """
    costs = tuple(costs)
    every = dict.fromkeys(arm for cost in costs for arm in (cost.arms or (cost.arm,)) if arm)
    found: dict[str, dict[str, Values]] = {arm: {} for arm in every}
    for cost in costs:
        own = cost.arms if cost.arms is not None else ((cost.arm,) if cost.arm else tuple(every))
        place = Place(ROLES.get(cost.stage, TRAINING), cost.stage, cost.task, cost.seed)
        for arm in own:
            for fact, value in _facts(cost).items():
                found[arm].setdefault(fact, {}).setdefault(place, set()).add(value)
    return dict(found)


def _facts(cost: StageCost) -> dict[str, str]:
    """Facts of one stage. Without tokens (scoring, removing layers) device and threads could not change its results."""
    found = dict(cost.versions)
    if cost.tokens:
        found |= {"device": cost.where, "machine": cost.machine, "precision": cost.precision or ""}
        found["threads"] = plural(cost.threads, "thread")
    return {fact: value for fact, value in found.items() if value not in ("", "absent")}


def differing(
    found: Mapping[str, Conditions], arm: str, against: str, tasks: Sequence[str] | None = None
) -> tuple[str, ...]:
    """How the conditions of two arms differ, in words: "torch 2.12.0 against 2.13.0 in training", "bf16 against fp32
    in training"; () if they do not, as far as is known, or if an arm has no stages.

    `tasks`: only the stages of these targets, and those shared by several targets. A stage without a counterpart, such
    as an intermediate one, must match some training stage of the other arm.
    """
    own, other = (_of_tasks(found.get(name, {}), tasks) for name in (arm, against))
    roles: dict[str, list[str]] = {}
    for fact in _in_order(own.keys() & other.keys() - set(LISTED)):
        for role in (TRAINING, *ROLES.values()):
            words = _difference(fact, role, own[fact], other[fact])
            if words:
                roles.setdefault(words, []).append(role)
    return tuple(f"{words} in {listed(names)}" for words, names in roles.items())


def _of_tasks(facts: Conditions, tasks: Sequence[str] | None) -> Conditions:
    return {
        fact: {place: one for place, one in values.items() if tasks is None or place.task in ("", *tasks)}
        for fact, values in facts.items()
    }


def _difference(fact: str, role: str, own: Values, other: Values) -> str:
    """How two arms differ in one fact and role, in words; "" if they do not."""
    ours: set[str] = set()
    theirs: set[str] = set()
    for place in sorted(place for place in own.keys() | other.keys() if place.role == role):
        one, two = own.get(place), other.get(place)
        if one is not None and two is not None:
            differ = one != two
        else:
            known = _without_counterpart(fact, role, other if two is None else own)
            differ = bool(known) and not (one or two or known) <= known
            one, two = one or known, two or known
        if differ:
            ours, theirs = ours | one, theirs | two
    if not ours:
        return ""
    name = "" if fact in COMPUTED else f"{fact} "
    if ours == theirs:
        return f"{name}{listed(sorted(ours))}, but not for the same seeds or tasks,"
    return f"{name}{listed(sorted(ours))} against {listed(sorted(theirs))}"


def _without_counterpart(fact: str, role: str, values: Values) -> set[str]:
    """Values that a stage without a counterpart must match: those of its role; for a version with none there, all."""
    within = set[str]().union(*(one for place, one in values.items() if place.role == role))
    return within or (set() if fact in COMPUTED else set[str]().union(*values.values()))


def _in_order(facts: Iterable[str]) -> list[str]:
    """The facts in order: those in `COMPUTED` first, then package versions."""
    return sorted(dict.fromkeys(facts), key=lambda fact: (fact not in COMPUTED, fact))


@dataclass(frozen=True)
class Alike:
    """What the page says about the conditions under which arms were computed."""

    same: tuple[str, ...]
    """The conditions that all arms share, in words."""
    varying: tuple[str, ...]
    """The other facts, as columns of a table of arms."""
    lines: Mapping[str, tuple[str, ...]]
    """Arm -> its text in these columns; if a fact has several values, with where in the arm each one holds."""
    unlike: Mapping[str, tuple[str, ...]]
    """Arm -> how its conditions differ from those of the baseline."""


def build_alike(costs: Iterable[StageCost]) -> Alike:
    """The conditions of all arms that have stages; if all arms are alike, `same` says everything."""
    found = conditions(costs)
    same, varying = [], []
    for fact in _in_order(fact for facts in found.values() for fact in facts):
        words = {_shared_words(facts.get(fact, {})) for facts in found.values()} - {""}
        if len(words) == 1 and (word := words.pop()) is not None:
            same.append(word if fact in COMPUTED else f"{fact} {word}")
        else:
            varying.append(fact)
    lines = {arm: tuple(_words(facts.get(fact, {})) for fact in varying) for arm, facts in found.items()}
    unlike = {arm: differing(found, arm, BASELINE) for arm in found}
    return Alike(tuple(same), tuple(varying), lines, {arm: words for arm, words in unlike.items() if words})


def _shared_words(values: Values) -> str | None:
    """The value of all stages, or the value of each role; None if stages of one role differ."""
    by_role: dict[str, set[str]] = {}
    for place, one in values.items():
        by_role.setdefault(place.role, set()).update(one)
    if any(len(one) > 1 for one in by_role.values()):
        return None
    if len(whole := set[str]().union(*by_role.values())) <= 1:
        return "".join(whole)
    return ", ".join(f"{listed(sorted(one))} in {role}" for role, one in sorted(by_role.items()))


def _words(values: Values) -> str:
    """Each value; if there are several, with the roles and seeds that each holds for."""
    places: dict[str, list[Place]] = {}
    for place, one in sorted(values.items()):
        for value in one:
            places.setdefault(value, []).append(place)
    if len(places) < 2:
        return "".join(places)
    return "; ".join(f"{value} ({_where(own)})" for value, own in sorted(places.items()))


def _where(places: Sequence[Place]) -> str:
    seeds = sorted({place.seed for place in places})
    roles = sorted({place.role for place in places}, key=(TRAINING, *ROLES.values()).index)
    return f"{listed(roles)}, seed{'s' * (len(seeds) > 1)} {' '.join(map(str, seeds))}"
