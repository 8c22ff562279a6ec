"""Questions about a passage whose answer is a span of it: SQuAD's style (also XQuAD, MLQA) and TyDi QA's.

In SQuAD's style statements read `Spain: sun and moon.`, in TyDi QA's `sun and moon (Spain);`. A question names a place
(the answer is what is there) or a thing (the answer is the place). All statements have the same form, so only the name
in the question tells which one contains the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from viaduct.miniature.lexicon import SPACELESS
from viaduct.miniature.sentences import Item, Meaning, day, listing, mark, number, some_places, some_things, text

_STATEMENTS = 3
"""Maximum number of statements in a passage."""

Style = Literal["squad", "tydiqa"]


@dataclass(frozen=True, slots=True)
class Passage:
    """Places with the things that are there, and questions about them."""

    style: Style
    statements: tuple[tuple[Item, tuple[Item, ...]], ...]
    """(place, its things), one per statement."""
    asked: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question in one language."""

    question: str
    answer: str
    start: int
    """Character offset of the answer in the context."""


def passage(random: Random, style: Style, num_questions: int) -> Passage:
    """A passage of one to three statements with at most as many different questions, half of them about places."""
    count = random.randint(1, _STATEMENTS)
    keys = some_places(random, count)
    if random.random() < 0.5:
        keys = tuple(random.sample((keys[0], day(random.randrange(7)), number(random.randint(2, 99))), count))
    items = iter(some_things(random, 2 * count))
    statements = tuple((key, tuple(next(items) for _ in range(random.randint(1, 2)))) for key in keys)
    about = random.sample(statements, min(num_questions, len(statements)))
    asked = [where if random.random() < 0.5 else random.choice(there) for where, there in about]
    return Passage(style, statements, tuple(asked))


def many(style: Style, count: int, random: Random, taken: set[str], *, per_passage: int) -> tuple[Passage, ...]:
    """Passages with `count` questions in total; their English contexts are new and are added to `taken`."""
    found: list[Passage] = []
    left = count
    while left > 0:
        made = passage(random, style, min(per_passage, left))
        key = context(made, "en")
        if key in taken:
            continue
        taken.add(key)
        found.append(made)
        left -= len(made.asked)
    return tuple(found)


def context(made: Passage, language: str) -> str:
    """The passage's text."""
    return "".join(piece for piece, _, _ in _pieces(made, language))


def questions(made: Passage, language: str) -> tuple[Asked, ...]:
    """The passage's questions with their answers."""
    spans: dict[Item, tuple[str, int]] = {}
    place = 0
    for piece, (where, there), parts in _pieces(made, language):
        answers = {where: text((listing(there),), language), **dict.fromkeys(there, text((where,), language))}
        for asked, answer in answers.items():
            # the things come after the place in SQuAD's style and before it in TyDi QA's
            begin = 0 if (asked is where) == (made.style == "tydiqa") else parts
            spans[asked] = (answer, place + begin)
        place += len(piece)
    return tuple(Asked(text((asked, mark("?")), language), *spans[asked]) for asked in made.asked)


_Piece = tuple[str, tuple[Item, tuple[Item, ...]], int]


def _pieces(made: Passage, language: str) -> list[_Piece]:
    """Each statement's text (with the space after it), the statement, and the offset of its second name in the text."""
    gap = "" if language in SPACELESS else " "
    found = []
    for position, (where, there) in enumerate(made.statements):
        last = position == len(made.statements) - 1
        items = listing(there)
        first: Meaning
        whole: Meaning
        if made.style == "squad":
            first, whole = (where, mark(":")), (where, mark(":"), items, mark("."))
            begin = len(text(first, language) + gap)
        else:
            first = (items, mark("("))
            whole = (*first, where, mark(")"), mark("." if last else ";"))
            begin = len(text(first, language))
        found.append((text(whole, language) + ("" if last else gap), (where, there), begin))
    return found


def echo(made: Passage, language: str) -> tuple[str, ...]:
    """The passage, its first question and the answer as a sentence: plain text to learn from."""
    asked = questions(made, language)[0]
    return (context(made, language), asked.question, asked.answer + text((mark("."),), language))
