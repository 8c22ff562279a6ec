"""One or two texts in one sequence, cut from the end of the longer one, with memory linear in their length.

The tokenizer could truncate them itself, but it keeps what it cuts off: for a pair, every chunk of one side combined
with every chunk of the other, so that 100 pairs of 1,040 and 1,040 tokens took 1.5 GB. So it cuts nothing here, and
tokens are removed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class CutTexts(NamedTuple):
    """One sequence: ids, segment types (None if the tokenizer has none), and how many tokens were cut."""

    ids: list[int]
    types: list[int] | None
    cut: int


def encode_texts(sides: Sequence[Sequence[str]], tokenizer: Any, max_length: int) -> Iterator[CutTexts]:
    """A sequence for each text of one list, or for each pair of texts from two, as from the tokenizer with
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
    """How many tokens are kept of two texts of these lengths: the longer is cut to the room that the shorter leaves, or
    both to half of the room (the longer to one more if `room` is odd) if that would make it shorter than the other."""
    if first + second <= room:
        return first, second
    shorter = min(first, second)
    half = room // 2
    lesser, greater = (shorter, room - shorter) if shorter <= room - shorter else (half, room - half)
    return (lesser, greater) if first <= second else (greater, lesser)
