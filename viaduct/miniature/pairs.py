"""Sentence pairs: inference (MultiNLI, XNLI) and paraphrase (PAWS-X), as meanings with labels.

Both are made so that counting shared words tells nothing: every word of the second sentence is in the first, whatever
the label. Lengths are drawn before, and independently of, the label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def inference(random: Random, label: str) -> LabelledPair:
    """What a place has, may have (or) and lacks (✗); then a statement of what it has.

    It is entailed when the place has everything stated, contradicted when it lacks any of it, and otherwise neutral.
    """
    items = iter(some_things(random, 7))
    has = [next(items) for _ in range(random.randint(2, 3))]
    may_have = [next(items), next(items)]
    lacks = [next(items) for _ in range(random.randint(1, 2))]
    groups: list[Meaning] = [(listing(has),), (listing(may_have, "or"),), (mark("✗"), listing(lacks))]
    random.shuffle(groups)
    where = some_places(random, 1)
    stated = _stated(random, label, has=has, may_have=may_have, lacks=lacks)
    premise = (*where, mark(":"), *groups[0], mark(";"), *groups[1], mark(";"), *groups[2])
    return LabelledPair(ended(premise), ended((*where, mark(":"), listing(stated))), label)


def _stated(
    random: Random, label: str, *, has: Sequence[Item], may_have: Sequence[Item], lacks: Sequence[Item]
) -> tuple[Item, ...]:
    """One or two things that give this label."""
    deciding = {"entailment": has, "neutral": may_have, "contradiction": lacks}[label]
    first = random.choice(deciding)
    if random.random() < 0.5:
        return (first,)
    allowed = {"entailment": has, "neutral": (*has, *may_have), "contradiction": (*has, *may_have)}[label]
    second = random.choice([item for item in allowed if item != first])
    return (first, second) if random.random() < 0.5 else (second, first)


def paraphrase(random: Random, label: str) -> LabelledPair:
    """What turns into what, twice: "1" when the same things turn into the same, in whatever order they are listed.

    In a pair with the label "0" one thing on each side has changed places, or the sides have.
    """
    items = some_things(random, random.randint(3, 5))
    cut = random.randint(1, len(items) - 1)
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
    taken: set[Meaning],
) -> tuple[LabelledPair, ...]:
    """`count` pairs with the labels in equal numbers and random order; no first sentence is in `taken`, which grows.

    `count` is rounded up to a multiple of the number of labels.
    """
    wanted = list(labels) * -(-count // len(labels))
    random.shuffle(wanted)
    found = []
    for label in wanted:
        pair = make(random, label)
        while taken_key(pair.first) in taken:
            pair = make(random, label)
        taken.add(taken_key(pair.first))
        found.append(pair)
    return tuple(found)


def taken_key(meaning: Meaning) -> Meaning:
    """The meaning with its lists in a fixed order, so that a list in another order counts as the same sentence."""
    return tuple(
        Listing(part.joint, tuple(sorted(part.groups, key=repr))) if isinstance(part, Listing) else part
        for part in meaning
    )
