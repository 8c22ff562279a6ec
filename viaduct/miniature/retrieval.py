"""Sentences for translation retrieval (Tatoeba, BUCC), and plain and parallel text for pretraining, as meanings.

Near misses make retrieval hard: sentences that differ from another one in a single name or number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from viaduct.miniature.lexicon import PLACES, SPACELESS, things
from viaduct.miniature.pairs import described, described_twice
from viaduct.miniature.questions import Style, echo, passage
from viaduct.miniature.sentences import (
    Item,
    Listing,
    Meaning,
    compared,
    counted,
    dated,
    either,
    ended,
    firm,
    flow,
    found_in,
    glossed,
    heading,
    listing,
    mark,
    match,
    numbered,
    people,
    some_places,
    some_things,
    stock,
    text,
)

Construction = Callable[[Random], Meaning]

SENTENCES: tuple[Construction, ...] = (
    stock, stock, dated, dated, counted, flow, either, people, found_in, match, firm, heading, numbered, compared,
)  # fmt: skip
RETRIEVED: tuple[Construction, ...] = (stock, dated, counted, found_in, people)

_GLOSSED = 0.6
"""Share of lines of plain text (except passages) whose first sentence has emoji next to the names."""

_NEAR_MISS = 0.5
"""Share of new sentences that are followed by a near miss."""


@dataclass(frozen=True, slots=True)
class Mine:
    """Two sets of sentences, and which of them belong together."""

    source: tuple[Meaning, ...]
    target: tuple[Meaning, ...]
    gold: tuple[tuple[int, int], ...]
    """(index in source, index in target), each index at most once."""


def changed(random: Random, meaning: Meaning) -> Meaning:
    """The same sentence with one name or number replaced by another that does not occur in it."""
    items = _items(meaning)
    at = random.choice([place for place, item in enumerate(items) if item.kind != "mark"])
    old = items[at]
    present = {item.value for item in items if item.kind == old.kind}
    bounds = {"thing": (0, len(things())), "place": (0, len(PLACES)), "day": (0, 7), "number": (2, 100)}
    allowed = [value for value in range(*bounds[old.kind]) if value not in present]
    items[at] = replace(old, value=random.choice(allowed))
    left = iter(items)
    return tuple(
        next(left)
        if isinstance(part, Item)
        else Listing(part.joint, tuple(tuple(next(left) for _ in group) for group in part.groups))
        for part in meaning
    )


def _items(meaning: Meaning) -> list[Item]:
    return [
        item
        for part in meaning
        for item in ([part] if isinstance(part, Item) else [one for group in part.groups for one in group])
    ]


def families(count: int, random: Random, taken: set[Meaning]) -> tuple[Meaning, ...]:
    """`count` different sentences, many of them followed by a near miss; all are new and are added to `taken`."""
    found: list[Meaning] = []
    while len(found) < count:
        first = ended(random.choice(RETRIEVED)(random))
        for made in (first, changed(random, first))[: 1 + (random.random() < _NEAR_MISS)]:
            if made not in taken and len(found) < count:
                taken.add(made)
                found.append(made)
    return tuple(found)


def mine(size: int, gold: int, random: Random, taken: set[Meaning]) -> Mine:
    """Two sets of `size` sentences, of which `gold` belong together; many are near misses (see `families`)."""
    made = list(families(2 * size - gold, random, taken))
    random.shuffle(made)
    shared, rest = made[:gold], made[gold:]
    source, target = shared + rest[: size - gold], shared + rest[size - gold :]
    random.shuffle(source)
    random.shuffle(target)
    place = {meaning: position for position, meaning in enumerate(target)}
    pairs = tuple((position, place[meaning]) for position, meaning in enumerate(source) if meaning in place)
    return Mine(tuple(source), tuple(target), pairs)


def parallel(
    count: int, random: Random, forbidden: Sequence[frozenset[str]], languages: Sequence[str]
) -> tuple[Meaning, ...]:
    """`count` different sentences, each allowed in every language: its text is not in that language's entry of
    `forbidden`."""
    found: dict[Meaning, None] = {}
    while len(found) < count:
        made = _statement(random)
        texts = zip(languages, forbidden, strict=True)
        if all(text(made, language) not in closed for language, closed in texts):
            found[made] = None
    return tuple(found)


def _statement(random: Random) -> Meaning:
    if random.random() < 0.1:
        return described(random)
    return ended(random.choice(SENTENCES)(random))


def plain(language: str, count: int, random: Random, forbidden: frozenset[str]) -> tuple[str, ...]:
    """`count` different lines of text; no sentence (or passage) of a line is in `forbidden`.

    Most lines say something twice (in other words, in another order, as a passage with a question and its answer), so
    that a masked name can be predicted from the rest. Labels do not occur.
    """
    found: dict[str, None] = {}
    while len(found) < count:
        sentences = _line(language, random)
        if not any(sentence in forbidden for sentence in sentences):
            found[("" if language in SPACELESS else " ").join(sentences)] = None
    return tuple(found)


def _line(language: str, random: Random) -> tuple[str, ...]:
    drawn = random.random()
    said: tuple[Meaning, ...]
    if drawn < 0.15:
        said = (ended(compared(random)),)
    elif drawn < 0.4:
        said = _reworded(random)
    elif drawn < 0.6:
        made = _statement(random)
        said = (made, _shuffled(random, made))
    elif drawn < 0.75:
        said = described_twice(random)
    else:
        style: Style = "squad" if random.random() < 0.7 else "tydiqa"
        return echo(passage(random, style, 1), language)
    if random.random() < _GLOSSED:
        said = (glossed(said[0]), *said[1:])
    return tuple(text(one, language) for one in said)


def _reworded(random: Random) -> tuple[Meaning, Meaning]:
    """What a place has, in two of three forms: `Spain: sun.`, `Spain (sun).`, `sun (Spain).`"""
    where, items = some_places(random, 1)[0], some_things(random, random.randint(1, 2))
    orders = [listing(random.sample(items, len(items))) for _ in range(3)]
    forms: tuple[Meaning, ...] = (
        (where, mark(":"), orders[0]),
        (where, mark("("), orders[1], mark(")")),
        (orders[2], mark("("), where, mark(")")),
    )
    first, second = random.sample(forms, 2)
    return ended(first), ended(second)


def _shuffled(random: Random, meaning: Meaning) -> Meaning:
    return tuple(
        replace(part, groups=tuple(random.sample(part.groups, len(part.groups)))) if isinstance(part, Listing) else part
        for part in meaning
    )
