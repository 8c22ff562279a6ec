"""Which rows of a test set chance draws together: translations of one example, and examples of one group.

Variances over examples treat such rows as one draw (docs/statistics.md).

Shape letter: N rows of one language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from viaduct.metrics.score import Outcomes

Member = TypeVar("Member", str, int)

FEWEST_GROUPS = 5
"""Groups of equal size from which their variance is estimated: a text that nearly all rows share is the task's."""


def numbered(ids: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int32]]:
    """Language -> the numbers of its ids in the union over languages, shorter ids first."""
    union = sorted({one for found in ids.values() for one in found}, key=lambda one: (len(one), one))
    number = {one: place for place, one in enumerate(union)}
    return {language: np.array([number[one] for one in found], np.int32) for language, found in ids.items()}


def drawn_together(outcomes: Mapping[str, Outcomes]) -> dict[str, NDArray[np.int32]]:
    """Language -> (N,) numbers that are equal for rows which chance draws together: the same example in different
    languages, and examples that are of one group in any language.

    In a test set that is not parallel, such as PAN-X's, an id is another row in each language, and the groups of many
    languages connect nearly all rows. Where that leaves fewer than `FEWEST_GROUPS` (groups of unequal size count as
    fewer), but each language has more, rows of different languages are drawn separately. Groups that are as few in one
    language are ignored.
    """
    numbers = numbered({code: one.same or one.ids for code, one in outcomes.items()})
    pairs = {code: _of_one_group(numbers[code], one.groups) for code, one in outcomes.items()}
    joined = _joined(numbers, [pair for own in pairs.values() for pair in own])
    if effective(joined) >= FEWEST_GROUPS:
        return joined
    alone, start = {}, 0
    for code, one in numbers.items():
        alone[code] = start + _joined({code: one}, pairs[code])[code]
        start = 1 + max(alone[code].tolist(), default=start - 1)
    enough = all(effective({code: one}) >= FEWEST_GROUPS for code, one in alone.items() if len(one))
    return alone if enough else numbers


def effective(units: Mapping[str, NDArray[np.int32]]) -> float:
    """How many groups of equal size would weigh in the mean over languages as these do (Kish 1965); 0 without rows."""
    there = [one for one in units.values() if len(one)]
    count = 1 + max((int(one.max()) for one in there), default=-1)
    shares = sum((np.bincount(one, minlength=count) / len(one) for one in there), np.zeros(count))
    return round(float(shares.sum() ** 2 / (shares**2).sum()), 9) if there else 0.0


def _of_one_group(examples: NDArray[np.int32], groups: Sequence[str] | None) -> list[tuple[int, int]]:
    """Pairs that connect all examples of one group; "" is no group."""
    if groups is None:
        return []
    first: dict[str, int] = {}
    found = ((group, example) for group, example in zip(groups, examples.tolist(), strict=True) if group)
    return [(first.setdefault(group, example), example) for group, example in found]


def _joined(numbers: Mapping[str, NDArray[np.int32]], pairs: Iterable[tuple[int, int]]) -> dict[str, NDArray[np.int32]]:
    """The numbers, equal for examples that pairs connect, and without gaps."""
    lowest = connected(pairs)
    count = 1 + max((int(one.max()) for one in numbers.values() if len(one)), default=-1)
    groups = np.unique([lowest.get(one, one) for one in range(count)], return_inverse=True)[1]
    return {code: groups[one].astype(np.int32) for code, one in numbers.items()}


def connected(pairs: Iterable[tuple[Member, Member]]) -> dict[Member, Member]:
    """Member of a pair -> the smallest of those that pairs connect it with, directly or through others."""
    parent: dict[Member, Member] = {}

    def root(one: Member) -> Member:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {one: root(one) for one in list(parent)}
