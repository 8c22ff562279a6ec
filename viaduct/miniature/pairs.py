"""Sentence pairs: inference (MultiNLI, XNLI) and paraphrase (PAWS-X), as meanings with labels.

Both are made so that counting shared words tells nothing: every word of the second sentence is in the first, whatever
the label. Lengths are drawn before, and independently of, the label.
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
    some_places,
    some_things,
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
    """What a place has (✓), may have (±) and lacks (✗); then a statement of what it has.

    It is entailed when the place has everything stated, contradicted when it lacks any of it, and otherwise neutral.
    """
    states_two = random.random() < _TWO_THINGS
    where, groups = _inventory(random, has_two=states_two)
    first = random.choice(groups[_MARK_OF[label]])
    stated = [first]
    if states_two:
        allowed = [item for sign in _COMPATIBLE[label] for item in groups[sign] if item != first]
        stated.append(random.choice(allowed))
        random.shuffle(stated)
    return LabelledPair(_described(random, where, groups), ended((where, mark(":"), listing(stated))), label)


_TWO_THINGS = 0.25
_COMPATIBLE = {"entailment": (HAS,), "neutral": (HAS, MAY_HAVE), "contradiction": (HAS, MAY_HAVE, LACKS)}
"""Label -> marks of the things that may be stated beside a deciding one."""


def described(random: Random) -> Meaning:
    """What a place has, may have and lacks: the first sentence of an inference pair."""
    return _described(random, *_inventory(random, has_two=random.random() < _TWO_THINGS))


def described_twice(random: Random) -> tuple[Meaning, Meaning]:
    """The same, and again one of its three parts with its mark."""
    where, groups = _inventory(random, has_two=random.random() < _TWO_THINGS)
    sign = random.choice(tuple(groups))
    again = random.sample(groups[sign], len(groups[sign]))
    return _described(random, where, groups), ended((where, mark(":"), mark(sign), listing(again)))


def _inventory(random: Random, *, has_two: bool) -> tuple[Item, Groups]:
    """A place and what it has (two things if `has_two`), may have and lacks; sizes do not depend on any label."""
    items = iter(some_things(random, 4))
    sizes = {HAS: 1 + has_two, MAY_HAVE: 1, LACKS: 1}
    groups = {sign: tuple(next(items) for _ in range(size)) for sign, size in sizes.items()}
    return some_places(random, 1)[0], groups


def _described(random: Random, where: Item, groups: Groups) -> Meaning:
    signs = random.sample(tuple(groups), len(groups))
    parts: list[Item | Listing] = [where, mark(":")]
    for position, sign in enumerate(signs):
        parts += [mark(";")] if position else []
        parts += [mark(sign), listing(groups[sign])]
    return ended(tuple(parts))


def paraphrase(random: Random, label: str) -> LabelledPair:
    """What turns into what, twice: "1" when the same things turn into the same, in whatever order they are listed.

    In a pair with the label "0" one thing on each side has changed places, or the sides have.
    """
    items = some_things(random, 3)
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
