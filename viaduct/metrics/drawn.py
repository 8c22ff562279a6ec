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

LEAST_GROUPS = 30
"""Groups of equal size from which a variance over groups is estimated; with fewer, its bias exceeds 3 %."""


def numbered(ids: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int32]]:
    """Language -> the numbers of its ids in the union over languages, shorter ids first."""
    union = sorted({one for found in ids.values() for one in found}, key=lambda one: (len(one), one))
    number = {one: place for place, one in enumerate(union)}
    return {language: np.array([number[one] for one in found], np.int32) for language, found in ids.items()}


def drawn_together(outcomes: Mapping[str, Outcomes]) -> dict[str, NDArray[np.int32]]:
    """Language -> (N,) numbers that are equal for rows which chance draws together: the same example in different
    languages, and examples of one group.

    If there would be fewer than `LEAST_GROUPS` (groups of unequal size count as fewer), as where all rows have the same
    first text, groups are ignored: from so few, their variance cannot be estimated.
    """
    numbers = numbered({code: one.same or one.ids for code, one in outcomes.items()})
    count = 1 + max((int(one.max()) for one in numbers.values() if len(one)), default=-1)
    told = {code: one.groups for code, one in outcomes.items() if one.groups is not None}
    pairs = _of_one_group([dict(zip(numbers[code].tolist(), own, strict=True)) for code, own in told.items()])
    lowest = connected(pairs)
    groups = np.unique([lowest.get(one, one) for one in range(count)], return_inverse=True)[1]
    joined = {code: groups[one].astype(np.int32) for code, one in numbers.items()}
    shares = sum((np.bincount(one, minlength=count) / len(one) for one in joined.values() if len(one)), np.zeros(count))
    return joined if shares.sum() ** 2 >= LEAST_GROUPS * (shares**2).sum() else numbers


def _of_one_group(groups: Sequence[Mapping[int, str]]) -> list[tuple[int, int]]:
    """Pairs of examples that are of one group in most of the languages that have both; `groups`: in each language,
    example -> group. In most, because test sets that are not parallel, such as PAN-X's, use one number for different
    rows: a duplicate in one language would tie the rows of that number in all others, and so on."""
    pairs: set[tuple[int, int]] = set()
    for own in groups:
        first: dict[str, int] = {}
        for example, group in sorted(own.items()):
            if group and first.setdefault(group, example) < example:
                pairs.add((first[group], example))
    told = {(a, b): [own[a] == own[b] for own in groups if a in own and b in own] for a, b in sorted(pairs)}
    return [pair for pair, same in told.items() if 2 * sum(same) > len(same)]


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
