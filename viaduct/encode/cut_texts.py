"""One or two texts in one sequence, cut from the end of the longer one, in memory that grows with their length.

The tokenizer could cut them itself, but keeps what it cuts off: of a pair every piece of the one side with every piece
of the other, so that 100 pairs of 1,040 and 1,040 tokens took 1.5 GB. Here it cuts nothing, and tokens are taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class CutTexts(NamedTuple):
    """One sequence: ids, segment types (None where the tokenizer tells none apart), and how many tokens are cut."""

    ids: list[int]
    types: list[int] | None
    cut: int


def encode_texts(sides: Sequence[Sequence[str]], tokenizer: Any, max_length: int) -> Iterator[CutTexts]:
    """A sequence for each text, or for each pair of those in two lists, as the tokenizer makes it with
    `truncation="longest_first"`."""
    encoding = tokenizer(*map(list, sides), verbose=False)
    types = encoding.get("token_type_ids")
    from_start = tokenizer.truncation_side == "left"
    for number, ids in enumerate(encoding["input_ids"]):
        its_types = None if types is None else types[number]
        if len(ids) <= max_length:
            yield CutTexts(ids, its_types, 0)
            continue
        side_of = encoding.sequence_ids(number)
        places = [[place for place, side in enumerate(side_of) if side == one] for one in range(len(sides))]
        room = max_length - side_of.count(None)
        most = kept_of_two(len(places[0]), len(places[1]), room) if len(places) > 1 else (room,)
        gone = {
            place
            for side, keep in zip(places, most, strict=True)
            for place in (side[: len(side) - keep] if from_start else side[keep:])
        }
        kept = [place for place in range(len(ids)) if place not in gone]
        cut_types = None if its_types is None else [its_types[place] for place in kept]
        yield CutTexts([ids[place] for place in kept], cut_types, len(gone))


def kept_of_two(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens are kept of texts with so many: the longer is cut to what the shorter leaves, and both to half
    (the longer to one more) where the shorter leaves less."""
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    half = room // 2
    lesser, greater = (shorter, room - shorter) if shorter <= room - shorter else (half, room - half)
    return (lesser, greater) if first <= second else (greater, lesser)
