"""Sentence pairs: inference (MultiNLI, XNLI) and paraphrase (PAWS-X), as meanings with labels.

Counting shared words does not help in either: every word of the second sentence is in the first, regardless of the
label, and lengths do not depend on it. Difficulty is graded, so that a small model can start with easy cases: a third
of the inference pairs has only one mark, and in half of all pairs the names are of different kinds (a thing, a place, a
day, a number), so that it is enough to tell kinds apart. In the rest each name must be recognised.
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
    """Two sentences and the label for their relation."""

    first: Meaning
    second: Meaning
    label: str


HAS, MAY_HAVE, LACKS = "✓", "±", "✗"
_MARK_OF = {"entailment": HAS, "neutral": MAY_HAVE, "contradiction": LACKS}

_DOUBLED = 0.5
"""Share of inventories with two names after one of their marks."""
_TURNED = 0.35
"""Share of the non-paraphrases whose two sides are swapped."""

Groups = dict[str, tuple[Item, ...]]


def inference(random: Random, label: str) -> LabelledPair:
    """What is there (✓), may be (±) and is not (✗), or one or two of these; then a statement that something is there.

    The statement is entailed if the thing is there, contradicted if it is not, and neutral if it may be.
    """
    deciding = _MARK_OF[label]
    groups = _inventory(random, deciding)
    return LabelledPair(_described(random, groups), ended((random.choice(groups[deciding]),)), label)


def halves(random: Random, label: str) -> tuple[LabelledPair, LabelledPair]:
    """An inference pair split into two halves: one for the row, one for its translation.

    Both halves name the same two things, and only one half, chosen at random, has the mark: from one half alone, the
    label of every second pair is known and that of the rest can only be guessed.
    """
    own, other = some_names(random, 2)
    names = listing(random.sample((own, other), 2))
    told: list[Meaning] = [ended((mark(_MARK_OF[label]), names)), ended((names,))]
    random.shuffle(told)
    return LabelledPair(told[0], ended((own,)), label), LabelledPair(told[1], ended((own,)), label)


def described(random: Random) -> Meaning:
    """What is there, may be and is not: the first sentence of an inference pair."""
    return inference(random, random.choice(INFERENCE)).first


def described_twice(random: Random) -> tuple[Meaning, Meaning]:
    """Such a sentence, and a second one that repeats one of its parts with its mark."""
    sign = random.choice(tuple(_MARK_OF.values()))
    groups = _inventory(random, sign)
    again = random.sample(groups[sign], len(groups[sign]))
    return _described(random, groups), ended((mark(sign), listing(again)))


def _inventory(random: Random, needed: str) -> Groups:
    """One to three marks, including `needed`, with one name each; one of them may have two names."""
    others = [sign for sign in _MARK_OF.values() if sign != needed]
    signs = [needed, *random.sample(others, random.randint(0, 2))]
    doubled = random.choice(signs) if random.random() < _DOUBLED else None
    names = iter(some_names(random, len(signs) + (doubled is not None)))
    return {sign: tuple(next(names) for _ in range(1 + (sign == doubled))) for sign in signs}


def _described(random: Random, groups: Groups) -> Meaning:
    parts: list[Item | Listing] = []
    for sign in random.sample(tuple(groups), len(groups)):
        parts += [mark(";")] if parts else []
        parts += [mark(sign), listing(groups[sign])]
    return ended(tuple(parts))


def paraphrase(random: Random, label: str) -> LabelledPair:
    """Two statements of what turns into what: "1" if the same things turn into the same things, listed in any order.

    In a pair labelled "0", one thing from each side has been swapped, or the two sides have.
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
    if random.random() < _TURNED:
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
    """`count` pairs, equally many per label, in random order; their first sentences are new and are added to `taken`.

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
    """The meaning with its lists as sets, so that the order within a list does not make it another sentence."""
    return tuple((part.joint, frozenset(part.groups)) if isinstance(part, Listing) else part for part in meaning)
