"""One or two texts in one sequence: truncated as by the tokenizer itself, in memory that grows with their length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viaduct.encode.cut_texts import encode_texts, kept_of_two
from viaduct.encode.tokens import Limits, encode
from viaduct.heads.pair import encode_pairs
from viaduct.rows import Pair

words = st.lists(st.sampled_from(["the", "tea", "is", "cold", "and", "a", "red", "kettle"]), max_size=30).map(" ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(words, min_size=1, max_size=2), st.integers(6, 64), st.sampled_from(["left", "right"]))
def test_they_are_cut_as_the_tokenizer_would(tiny_tokenizer: Any, texts: list[str], length: int, side: str) -> None:
    before = tiny_tokenizer.truncation_side
    tiny_tokenizer.truncation_side = side
    try:
        wanted = tiny_tokenizer(*([text] for text in texts), truncation="longest_first", max_length=length)
        whole = tiny_tokenizer(*([text] for text in texts))
        (made,) = encode_texts([[text] for text in texts], tiny_tokenizer, length)
    finally:
        tiny_tokenizer.truncation_side = before
    assert made.ids == wanted["input_ids"][0]
    assert made.types == (wanted["token_type_ids"][0] if "token_type_ids" in wanted else None)
    assert made.cut == len(whole["input_ids"][0]) - len(made.ids)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 200))
def test_as_much_is_kept_as_there_is_room_and_the_shorter_text_loses_last(first: int, second: int, room: int) -> None:
    kept = kept_of_two(first, second, room)
    assert sum(kept) == min(first + second, room) and kept[0] <= first and kept[1] <= second
    if min(first, second) <= room // 2:
        assert min(first, second) in kept


def test_two_long_sides_take_little_memory(tiny_tokenizer: Any) -> None:
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        pytest.skip("the system does not say what a process has held")
    text = "red " * 1_040
    rows = [Pair(str(number), "en", text, text, None) for number in range(100)]
    encode(rows[:1], encode_pairs, tiny_tokenizer, (), Limits(128))

    def held(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    reset.write_text("5")
    before = held("VmRSS")
    made = encode(rows, encode_pairs, tiny_tokenizer, (), Limits(128))
    assert len(made.ids) == 100 * 128 and made.cut_tokens >= 100 * (2 * 1_040 - 125)
    assert held("VmHWM") - before < 200 * 1024  # KiB; it used to be 1.5 GB
