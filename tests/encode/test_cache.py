from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from viaduct.encode import cache as cache_module
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits, encode
from viaduct.heads.pair import encode_pairs
from viaduct.heads.tagged import encode_tagged
from viaduct.rows import Span, Tagged

LIMITS = Limits(40, 8)


def arrays(encoded: Encoded) -> dict[str, Any]:
    own = {"ids": encoded.ids, "offsets": encoded.offsets, "groups": encoded.groups, "rows": encoded.rows}
    return {name: (values.dtype.str, values.tolist()) for name, values in {**own, **encoded.fields}.items()}


def entries(folder: Path) -> set[str]:
    return {path.name for path in (folder / "tokens").iterdir()}


def words_reversed(rows: Any, *others: Any) -> None:
    """A different encoding of the same rows: with their words in reverse order."""
    encode_tagged([replace(row, tokens=row.tokens[::-1], tags=row.tags[::-1]) for row in rows], *others)


def never(*_: Any) -> Encoded:
    raise AssertionError("the rows are tokenised again")


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_the_second_read_is_the_first_and_tokenises_nothing(
    tiny_tokenizer: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = tiny.rows(kind), tiny.CARDS[kind].labels
    made = tiny.encode(rows, tiny_tokenizer, labels, LIMITS)
    encoding = tiny.ENCODINGS[type(rows[0])]
    first = cached(rows, encoding, tiny_tokenizer, labels, LIMITS, tmp_path)
    # A call in between leaves truncation set in the tokenizer; the key must not see it.
    tiny_tokenizer(["green house " * 9], truncation=True, max_length=7)
    monkeypatch.setattr(cache_module, "encode", never)
    second = cached(rows, encoding, tiny_tokenizer, labels, LIMITS, tmp_path)
    assert arrays(made) == arrays(first) == arrays(second)
    assert made.cut_tokens == first.cut_tokens == second.cut_tokens
    assert isinstance(second.ids, np.memmap)
    assert all(isinstance(values, np.memmap) for values in second.fields.values())


def test_anything_that_changes_the_tokens_gives_another_entry(tiny_tokenizer: Any, tmp_path: Path) -> None:
    rows = tiny.rows("tagged")
    labels = tiny.CARDS["tagged"].labels
    other = replace(rows[3], tokens=("winter", *rows[3].tokens[1:]))
    calls = [
        (rows, encode_tagged, tiny_tokenizer, labels, LIMITS),
        ([*rows[:3], other, *rows[4:]], encode_tagged, tiny_tokenizer, labels, LIMITS),
        (rows[:-1], encode_tagged, tiny_tokenizer, labels, LIMITS),
        (rows, encode_tagged, tiny.tokenizer(300), labels, LIMITS),
        (rows, encode_tagged, tiny_tokenizer, labels[::-1], LIMITS),
        (rows, encode_tagged, tiny_tokenizer, labels, Limits(39, 8)),
        (rows, words_reversed, tiny_tokenizer, labels, LIMITS),
    ]
    for number, call in enumerate(calls, start=1):
        cached(*call, tmp_path)
        assert len(entries(tmp_path)) == number
    for call in calls:
        cached(*call, tmp_path)
    assert len(entries(tmp_path)) == len(calls)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("truncation_side", "left"),
        ("padding_side", "left"),
        ("model_input_names", ["input_ids", "token_type_ids", "attention_mask"]),
        ("split_special_tokens", True),
    ],
)
def test_settings_beside_the_backend_give_another_entry(
    setting: str, value: object, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two encoders' tokenizers may differ only in tokenizer_config.json, and so in how they encode a long text."""
    rows = [replace(row, first=f"{row.first} </s> boat house garden") for row in tiny.rows("pair")]
    limits = Limits(12)
    before = cached(rows, encode_pairs, tiny_tokenizer, (), limits, tmp_path)
    monkeypatch.setattr(tiny_tokenizer, setting, value)
    found = cached(rows, encode_pairs, tiny_tokenizer, (), limits, tmp_path)
    assert arrays(found) == arrays(tiny.encode(rows, tiny_tokenizer, (), limits))
    assert len(entries(tmp_path)) == 2
    assert (arrays(found) == arrays(before)) == (setting == "padding_side")  # nothing is padded here


def test_another_class_and_other_versions_of_its_packages_are_other_tokenizers(
    tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {cache_module.tokenizer_key(tiny_tokenizer)}
    with monkeypatch.context() as patch:
        patch.setattr(tiny_tokenizer, "__class__", type("Other", (type(tiny_tokenizer),), {}))
        known.add(cache_module.tokenizer_key(tiny_tokenizer))
    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "version", lambda name: f"9 of {name}")
        known.add(cache_module.tokenizer_key(tiny_tokenizer))
    assert len(known) == 3
    assert cache_module.tokenizer_key(tiny_tokenizer) in known


def test_an_interrupted_write_is_never_read(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.rows("pair")
    save, written = np.save, []

    def failing(path: Path, values: Any) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        save(path, values)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", failing)
        with pytest.raises(KeyboardInterrupt):
            cached(rows, encode_pairs, tiny_tokenizer, ("no", "yes"), LIMITS, tmp_path)
    assert all(name.startswith("unfinished-") for name in entries(tmp_path))
    found = cached(rows, encode_pairs, tiny_tokenizer, ("no", "yes"), LIMITS, tmp_path)
    assert arrays(found) == arrays(tiny.encode(rows, tiny_tokenizer, ("no", "yes"), LIMITS))


def test_two_that_write_at_once_both_read_a_complete_entry(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.rows("pair")
    other = []

    def meanwhile(*call: Any) -> Encoded:
        if not other:
            other.append(None)
            other[0] = cached(rows, encode_pairs, tiny_tokenizer, ("no", "yes"), LIMITS, tmp_path)
        return encode(*call)

    monkeypatch.setattr(cache_module, "encode", meanwhile)
    found = cached(rows, encode_pairs, tiny_tokenizer, ("no", "yes"), LIMITS, tmp_path)
    assert arrays(found) == arrays(other[0])
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("rows", [[], [Span("1", "en", "", "why?", ())], [Tagged("1", "en", (), ())]])
def test_nothing_to_read_is_read_back(tiny_tokenizer: Any, tmp_path: Path, rows: list[Any]) -> None:
    for _ in range(2):
        found = cached(
            rows, tiny.ENCODINGS[type(rows[0])] if rows else encode_pairs, tiny_tokenizer, ("x",), LIMITS, tmp_path
        )
        assert len(found) == len(rows)
        assert arrays(found) == arrays(tiny.encode(rows, tiny_tokenizer, ("x",), LIMITS))
