"""Sentence pairs: inference (MultiNLI, XNLI) and paraphrase (PAWS-X), as meanings with labels.

Both are made so that counting shared words tells nothing: every word of the second sentence is in the first, whatever
the label. Lengths are drawn before, and independently of, the label. One half of the pairs is easy: their names are of
different kinds (a thing, a place, a day, a number), so it is enough to tell kinds apart. In the other half all are
things, and each must be recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random

from viaduct.miniature.sentences import (
    Item,
    Listing,
    Meaning,
    ended,
    listing,
    mark,
    some_names,
)

INFERENCE = ("contradiction", "entailment", "neutral")
PARAPHRASE = ("0", "1")


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two sentences and the label of their relation."""

    first: Meaning
    second: Meaning
    label: str


HAS, MAY_HAVE, LACKS = "✓", "±", "✗"
_MARK_OF = {"entailment": HAS, "neutral": MAY_HAVE, "contradiction": LACKS}

Groups = dict[str, tuple[Item, ...]]


def inference(random: Random, label: str) -> LabelledPair:
    """What there is (✓), may be (±) and is not (✗); then a statement that something is there.

    It is entailed when everything stated is there, contradicted when any of it is not, and otherwise neutral.
    """
    states_two = random.random() < _TWO_NAMES
    groups = _inventory(random, has_two=states_two)
    first = random.choice(groups[_MARK_OF[label]])
    stated = [first]
    if states_two:
        allowed = [item for sign in _COMPATIBLE[label] for item in groups[sign] if item != first]
        stated.append(random.choice(allowed))
        random.shuffle(stated)
    return LabelledPair(_described(random, groups), ended((listing(stated),)), label)


_TWO_NAMES = 0.25
_COMPATIBLE = {"entailment": (HAS,), "neutral": (HAS, MAY_HAVE), "contradiction": (HAS, MAY_HAVE, LACKS)}
"""Label -> marks of the names that may be stated beside a deciding one."""


def described(random: Random) -> Meaning:
    """What there is, may be and is not: the first sentence of an inference pair."""
    return _described(random, _inventory(random, has_two=random.random() < _TWO_NAMES))


def described_twice(random: Random) -> tuple[Meaning, Meaning]:
    """The same, and again one of its three parts with its mark."""
    groups = _inventory(random, has_two=random.random() < _TWO_NAMES)
    sign = random.choice(tuple(groups))
    again = random.sample(groups[sign], len(groups[sign]))
    return _described(random, groups), ended((mark(sign), listing(again)))


def _inventory(random: Random, *, has_two: bool) -> Groups:
    """What there is (two names if `has_two`), may be and is not; numbers of names do not depend on any label."""
    has, may_have, lacks, *more = some_names(random, 3 + has_two)
    return {HAS: (has, *more), MAY_HAVE: (may_have,), LACKS: (lacks,)}


def _described(random: Random, groups: Groups) -> Meaning:
    parts: list[Item | Listing] = []
    for sign in random.sample(tuple(groups), len(groups)):
        parts += [mark(";")] if parts else []
        parts += [mark(sign), listing(groups[sign])]
    return ended(tuple(parts))


def paraphrase(random: Random, label: str) -> LabelledPair:
    """What turns into what, twice: "1" when the same things turn into the same, in whatever order they are listed.

    In a pair with the label "0" one thing on each side has changed places, or the sides have.
    """
    items = some_names(random, 3)
    cut = random.randint(1, 2)
    left, right = list(items[:cut]), list(items[cut:])
    before = (tuple(left), tuple(right))
    if label == "0":
        _mix(random, left, right)
    while (tuple(left), tuple(right)) == before:
        random.shuffle(left)
        random.shuffle(right)
    return LabelledPair(_turns(*before), _turns(left, right), label)


def _mix(random: Random, left: list[Item], right: list[Item]) -> None:
    if random.random() < 0.2:
        left[:], right[:] = right[:], left[:]
    else:
        ours, theirs = random.randrange(len(left)), random.randrange(len(right))
        left[ours], right[theirs] = right[theirs], left[ours]
    random.shuffle(left)
    random.shuffle(right)


def _turns(left: Sequence[Item], right: Sequence[Item]) -> Meaning:
    return ended((listing(left), mark("→"), listing(right)))


def many(
    make: Callable[[Random, str], LabelledPair],
    labels: Sequence[str],
    count: int,
    random: Random,
    taken: set[tuple[Hashable, ...]],
) -> tuple[LabelledPair, ...]:
    """`count` pairs with the labels in equal numbers and random order; no first sentence is in `taken`, which grows.

    `count` is rounded up to a multiple of the number of labels.
    """
    wanted = list(labels) * -(-count // len(labels))
    random.shuffle(wanted)
    found = []
    for label in wanted:
        pair = make(random, label)
        while (key := taken_key(pair.first)) in taken:
            pair = make(random, label)
        taken.add(key)
        found.append(pair)
    return tuple(found)


def taken_key(meaning: Meaning) -> tuple[Hashable, ...]:
    """The meaning with its lists as sets, so that a list in another order counts as the same sentence."""
    return tuple((part.joint, frozenset(part.groups)) if isinstance(part, Listing) else part for part in meaning)
