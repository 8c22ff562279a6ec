"""Sentences as language-independent meanings, and their rendering as words or text in one of the 14 languages.

A meaning is a tuple of items (a thing, place, day, number or mark) and lists of items. It is hashable, and two
sentences say the same exactly if their meanings are equal. The tasks' own modules decide which sentences they need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Literal, TypeAlias

from viaduct.miniature.lexicon import PLACES, SPACELESS, Joint, Lexicon, lexicon, things

Kind = Literal["thing", "place", "day", "number", "mark"]

_SYMBOLS = "→×✓±✗&=≠"
_NO_BLANK_BEFORE = ":;.?)"
_NO_BLANK_AFTER = "("
_FLAG_A = 0x1F1E6 - ord("A")
"""Offset from a capital letter to its regional indicator; two indicators make a flag."""
_TOUCHING = "\b"
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Item:
    """One name, number or mark, with its part of speech and entity type in this sentence."""

    kind: Kind
    value: int | str
    tag: str
    entity: str = ""
    """PER, ORG or LOC; "" outside entities. An item with `joined` continues the previous item's entity."""
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Several groups of items joined by CLDR's "and" or "or" list pattern."""

    joint: Joint
    groups: tuple[tuple[Item, ...], ...]


Meaning: TypeAlias = tuple[Item | Listing, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """One token of a rendered sentence."""

    text: str
    tag: str
    entity: str
    """IOB2 tag."""
    blank: bool
    """Whether a space follows."""


def thing(index: int) -> Item:
    """The thing with this index, as a noun."""
    return Item("thing", index, "NOUN")


def place(index: int) -> Item:
    """The place with this index, as a location."""
    return Item("place", index, "PROPN", "LOC")


def day(index: int) -> Item:
    """The day of the week; 0 is Monday."""
    return Item("day", index, "PROPN")


def number(value: int) -> Item:
    """The number in digits."""
    return Item("number", value, "NUM")


def mark(sign: str) -> Item:
    """A punctuation mark, or a symbol (`→×✓±✗&=≠`)."""
    return Item("mark", sign, "SYM" if sign in _SYMBOLS else "PUNCT")


def named(item: Item, entity: str, *, joined: bool = False) -> Item:
    """The same name as part of a proper name of this entity type; a mark keeps its part of speech."""
    return replace(item, tag=item.tag if item.kind == "mark" else "PROPN", entity=entity, joined=joined)


def listing(items: Iterable[Item], joint: Joint = "and") -> Listing:
    """A list of single items."""
    return Listing(joint, tuple((item,) for item in items))


def glossed(meaning: Meaning) -> Meaning:
    """The sentence with an emoji after each thing and a flag after each place, as people write in messages.

    These signs are the same in all languages, so they link the names across languages.
    """
    return tuple(
        other
        for part in meaning
        for other in (
            _with_sign(part)
            if isinstance(part, Item)
            else (
                replace(
                    part,
                    groups=tuple(tuple(one for item in group for one in _with_sign(item)) for group in part.groups),
                ),
            )
        )
    )


def _with_sign(item: Item) -> tuple[Item, ...]:
    if item.kind == "thing":
        return (item, Item("mark", things()[int(item.value)], "SYM"))
    if item.kind == "place":
        return (item, Item("mark", "".join(chr(_FLAG_A + ord(letter)) for letter in PLACES[int(item.value)]), "SYM"))
    return (item,)


def words(meaning: Meaning, language: str) -> tuple[Word, ...]:
    """The sentence's words in this language, in reading order.

    A word without a space after it is attached to the next one; so is "and" in Arabic, which is written with that word.
    """
    return _spaced(tuple(_render(meaning, language)), language)


def text(meaning: Meaning, language: str) -> str:
    """The sentence as text."""
    return joined(words(meaning, language))


def joined(rendered: Iterable[Word]) -> str:
    """The text of these words, without a trailing space."""
    return "".join(word.text + " " if word.blank else word.text for word in rendered).rstrip(" ")


def fused(rendered: tuple[Word, ...]) -> tuple[tuple[Word, ...], ...]:
    """The words, grouped as they are written: a conjunction attached to the next word forms one group with it."""
    groups: list[tuple[Word, ...]] = []
    for word in rendered:
        before = groups[-1][-1] if groups else None
        if before is not None and before.tag == "CCONJ" and not before.blank:
            groups[-1] = (*groups[-1], word)
        else:
            groups.append((word,))
    return tuple(groups)


def _render(meaning: Iterable[Item | Listing], language: str) -> Iterator[Word]:
    for part in meaning:
        if isinstance(part, Item):
            yield from _item(part, language)
            continue
        separators = lexicon(language).between(part.joint, len(part.groups))
        for position, group in enumerate(part.groups):
            if position:
                yield from _separator(separators[position - 1])
            for item in group:
                yield from _item(item, language)


@cache
def _item(item: Item, language: str) -> tuple[Word, ...]:
    tokens = _name(item, lexicon(language)).split(" ")
    entities = (f"{'I' if position or item.joined else 'B'}-{item.entity}" for position in range(len(tokens)))
    return tuple(
        Word(token, item.tag, entity if item.entity else "O", True)
        for token, entity in zip(tokens, entities, strict=True)
    )


def _name(item: Item, words_of: Lexicon) -> str:
    if isinstance(item.value, str):
        return words_of.mark(item.value)
    names = {"thing": words_of.things, "place": words_of.places, "day": words_of.days}
    return names[item.kind][item.value] if item.kind in names else str(item.value)


@cache
def _separator(between: str) -> tuple[Word, ...]:
    """The tokens of the text between two items of a list; those attached to the previous word begin with
    `_TOUCHING`."""
    found = []
    for match in _TOKEN.finditer(between):
        token = match.group()
        touching = "" if between[: match.start()].endswith(" ") else _TOUCHING
        follows = between[match.end() : match.end() + 1] == " "
        found.append(Word(touching + token, "CCONJ" if token.isalpha() else "PUNCT", "O", follows))
    return tuple(found)


@cache
def _tight_marks(language: str) -> tuple[frozenset[str], str]:
    """The language's marks that have no space before them, and the one that has no space after it."""
    words_of = lexicon(language)
    return frozenset(words_of.mark(sign) for sign in _NO_BLANK_BEFORE), words_of.mark(_NO_BLANK_AFTER)


def _spaced(rendered: tuple[Word, ...], language: str) -> tuple[Word, ...]:
    """The words with their final spacing: no spaces before closing and after opening marks.

    In ja and zh there are spaces only next to symbols.
    """
    closing, opening = _tight_marks(language)
    found = []
    for position, word in enumerate(rendered):
        following = rendered[position + 1] if position + 1 < len(rendered) else None
        tight = following is None or following.text in closing or following.text[0] == _TOUCHING or word.text == opening
        if language in SPACELESS and following is not None:
            tight = tight or "SYM" not in (word.tag, following.tag)
        blank = not tight and (word.blank or language in SPACELESS)
        if blank != word.blank or word.text[0] == _TOUCHING:
            word = Word(word.text.removeprefix(_TOUCHING), word.tag, word.entity, blank)
        found.append(word)
    return tuple(found)


# Constructions. Each takes the random source and returns a sentence without its full stop.


def some_things(random: Random, count: int) -> tuple[Item, ...]:
    """Different things in random order."""
    return tuple(thing(index) for index in random.sample(range(len(things())), count))


def some_places(random: Random, count: int) -> tuple[Item, ...]:
    """Different places in random order."""
    return tuple(place(index) for index in random.sample(range(len(PLACES)), count))


def some_names(random: Random, count: int) -> tuple[Item, ...]:
    """Different names (at most four) in random order: half of the time only things, otherwise one name each of several
    kinds, so that they can be told apart by kind.
    """
    if random.random() < 0.5:
        return some_things(random, count)
    kinds = (*some_things(random, 1), *some_places(random, 1), day(random.randrange(7)), number(random.randint(2, 99)))
    return tuple(random.sample(kinds, count))


def stock(random: Random) -> Meaning:
    """What a place has: `Spain: sun, moon, and star`."""
    return (*some_places(random, 1), mark(":"), listing(some_things(random, random.randint(1, 3))))


def either(random: Random) -> Meaning:
    """What a place may have: `Spain: sun or moon`."""
    return (*some_places(random, 1), mark(":"), listing(some_things(random, 2), "or"))


def counted(random: Random) -> Meaning:
    """How many of each thing a place has: `Spain: sun × 3 and moon × 12`."""
    groups = tuple(
        (item, mark("×"), number(random.randint(2, 99))) for item in some_things(random, random.randint(1, 2))
    )
    return (*some_places(random, 1), mark(":"), Listing("and", groups))


def dated(random: Random) -> Meaning:
    """Where something is on a day: `Monday: sun and moon (Spain)`."""
    items = listing(some_things(random, random.randint(1, 2)))
    return (day(random.randrange(7)), mark(":"), items, mark("("), *some_places(random, 1), mark(")"))


def flow(random: Random) -> Meaning:
    """What turns into what: `sun and moon → star`."""
    items = some_names(random, 3)
    cut = random.randint(1, 2)
    return (listing(items[:cut]), mark("→"), listing(items[cut:]))


def numbered(random: Random) -> Meaning:
    """A numbered list, whose numbers are not quantities: `1) sun; 2) moon × 4`."""
    parts: list[Item] = []
    for position, item in enumerate(some_things(random, 2), start=1):
        parts += [mark(";")] if parts else []
        parts += [replace(number(position), tag="X"), mark(")"), item]
        parts += [mark("×"), number(random.randint(1, 9))] if random.random() < 0.5 else []
    return tuple(parts)


def compared(random: Random) -> Meaning:
    """Whether two lists name the same things: `sun and moon = moon and sun`, `sun ≠ star`."""
    *first, other = some_names(random, random.randint(2, 3))
    second = list(first)
    if random.random() < 0.5:
        second[random.randrange(len(second))] = other
    random.shuffle(second)
    return (listing(first), mark("=" if set(first) == set(second) else "≠"), listing(second))


def numbering(shown: Iterable[int]) -> Meaning:
    """The things in the order given, as a numbered list: `1) sun; 2) moon`."""
    parts: list[Item] = []
    for position, index in enumerate(shown, start=1):
        parts += [mark(";")] if parts else []
        parts += [replace(number(position), tag="X"), mark(")"), thing(index)]
    return tuple(parts)


def heading(random: Random) -> Meaning:
    """A thing as the name of something: `sun: moon and star`, where sun is a proper noun."""
    items = some_things(random, random.randint(2, 3))
    return (replace(items[0], tag="PROPN"), mark(":"), listing(items[1:]))


def people(random: Random) -> Meaning:
    """People named like things, with where they are from: `sun (Spain) and moon (Peru)`."""
    count = random.randint(1, 2)
    pairs = zip(some_things(random, count), some_places(random, count), strict=True)
    return (Listing("and", tuple((named(who, "PER"), mark("("), where, mark(")")) for who, where in pairs)),)


def found_in(random: Random) -> Meaning:
    """Places with what is there: `Spain (sun) and Peru (moon)`; the things are not people."""
    count = random.randint(1, 2)
    pairs = zip(some_things(random, count), some_places(random, count), strict=True)
    return (Listing("and", tuple((where, mark("("), what, mark(")")) for what, where in pairs)),)


def match(random: Random) -> Meaning:
    """Two teams named like places, and their scores: `Spain 3 – 2 Peru`."""
    first, second = (named(team, "ORG") for team in some_places(random, 2))
    return (first, number(random.randint(0, 30)), mark("–"), number(random.randint(0, 30)), second)


def firm(random: Random) -> Meaning:
    """A firm named like two things, and where it is: `sun & moon: Spain`."""
    first, second = some_things(random, 2)
    name = (named(first, "ORG"), named(mark("&"), "ORG", joined=True), named(second, "ORG", joined=True))
    return (*name, mark(":"), *some_places(random, 1))


def ended(meaning: Meaning) -> Meaning:
    """The sentence with its full stop."""
    return (*meaning, mark("."))
