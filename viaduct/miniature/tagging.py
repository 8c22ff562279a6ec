"""Sentences to tag: parts of speech (Universal Dependencies) and named entities (PAN-X), as meanings.

The same name can have several tags: a thing is a noun in a list, but a person before `(Spain)`, part of a firm next to
`&`, or a heading before a colon; a place is a location, but a team before its score; a number counts things, or numbers
a list. So the tag must be inferred from the context, and partly from the kind of name next to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from viaduct.miniature.lexicon import SPACELESS
from viaduct.miniature.sentences import (
    Meaning,
    Word,
    counted,
    either,
    ended,
    firm,
    flow,
    found_in,
    fused,
    heading,
    joined,
    mark,
    match,
    numbered,
    people,
    stock,
    text,
    words,
)

Construction = Callable[[Random], Meaning]

PARTS_OF_SPEECH: tuple[Construction, ...] = (
    stock, either, counted, flow, numbered, heading, heading, people, people, people, firm, match,
)  # fmt: skip
ENTITIES: tuple[Construction, ...] = (people, people, found_in, found_in, match, firm, stock, heading)


def sentence(random: Random, constructions: Sequence[Construction]) -> Meaning:
    """A sentence of one or two of the constructions, with a full stop."""
    first = random.choice(constructions)(random)
    if random.random() < 0.5:
        return ended(first)
    return ended((*first, mark(";"), *random.choice(constructions)(random)))


def many(constructions: Sequence[Construction], count: int, random: Random, taken: set[str]) -> tuple[Meaning, ...]:
    """`count` sentences; their English texts are new and are added to `taken`."""
    found: list[Meaning] = []
    while len(found) < count:
        made = sentence(random, constructions)
        key = text(made, "en")
        if key not in taken:
            taken.add(key)
            found.append(made)
    return tuple(found)


def entity_tokens(meaning: Meaning, language: str) -> tuple[tuple[str, str], ...]:
    """Tokens with IOB2 tags as in PAN-X: written words; in ja and zh, single characters."""
    groups = fused(words(meaning, language))
    if language not in SPACELESS:
        return tuple((joined(group), group[-1].entity) for group in groups)
    return tuple(
        (character, _inside(word.entity) if position else word.entity)
        for group in groups
        for word in group
        for position, character in enumerate(word.text)
    )


def _inside(entity: str) -> str:
    return entity if entity == "O" else "I-" + entity[2:]


def speech_tokens(meaning: Meaning, language: str) -> tuple[tuple[str, str], ...]:
    """Tokens with universal parts of speech as in XTREME: a contraction is one token with its last word's tag."""
    return tuple(
        ("".join(word.text for word in group).replace("\u200c", ""), group[-1].tag)
        for group in fused(words(meaning, language))
    )


def tree(meaning: Meaning, language: str, name: str) -> str:
    """The sentence as a tree in CoNLL-U, including the blank line.

    Dependencies are shallow: content words attach to the first one, conjunctions and marks to the next content word (or
    else the last). Contractions get a range line, and a sentence with a colon an empty node for the omitted verb.
    """
    rendered = words(meaning, language)
    content = [number for number, word in enumerate(rendered, start=1) if word.tag not in ("CCONJ", "PUNCT", "SYM")]
    lines = [f"# sent_id = {name}", f"# text = {joined(rendered)}"]
    number = 1
    for group in fused(rendered):
        if len(group) > 1:
            ends = "_" if group[-1].blank else "SpaceAfter=No"
            form = "".join(word.text for word in group)
            lines.append("\t".join((f"{number}-{number + len(group) - 1}", form, *"_" * 7, ends)))
        for word in group:
            lines.append(_node(number, word, content, in_range=len(group) > 1))
            if word.text == ":" and number > 1:
                lines.append("\t".join((f"{number}.1", "_", "_", "VERB", "_", "_", "_", "_", f"{content[0]}:dep", "_")))
            number += 1
    return "\n".join(lines) + "\n\n"


def _node(number: int, word: Word, content: Sequence[int], *, in_range: bool) -> str:
    if number in content:
        head, relation = (0, "root") if number == content[0] else (content[0], "dep")
    else:
        head = next((place for place in content if place > number), content[-1])
        relation = "cc" if word.tag == "CCONJ" else "punct"
    misc = "_" if word.blank or in_range else "SpaceAfter=No"
    return "\t".join((str(number), word.text, word.text, word.tag, "_", "_", str(head), relation, "_", misc))
