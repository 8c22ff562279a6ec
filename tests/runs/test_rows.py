from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import census

from viaduct.errors import DataError, UsageError
from viaduct.rows import Sentence
from viaduct.runs.rows import Loaded, Need, fraction
from viaduct.runs.spec import Substitution


def load(data: Path, task: str, split: str, language: str, declared: tuple[Substitution, ...] = ()) -> Loaded:
    return census(data).data.load(task, split, language, declared)


def data_fingerprint(data: Path, needs: list[Need], declared: tuple[Substitution, ...]) -> dict[str, str]:
    return census(data).data.fingerprint(needs, declared)


def half(task: str, low: float, high: float, **more: object) -> tuple[Substitution, ...]:
    return (Substitution(task=task, split="test", use_split="dev", part=(low, high), why="for the test", **more),)


def ids(world: Path, task: str, language: str, low: float, high: float) -> set[str]:
    return {row.id for row in load(world, task, "test", language, half(task, low, high)).rows}


@given(st.text())
def test_every_group_has_a_place_that_never_changes(text: str) -> None:
    assert 0.0 <= fraction(text) < 1.0
    assert fraction(text) == fraction(str(text))


def test_fractions_are_those_of_sha256() -> None:
    # first 6 bytes of the SHA-256 of "abc" (FIPS 180-4, example): ba7816bf8f01
    assert fraction("abc") == 0xBA7816BF8F01 / 2**48


def test_without_a_substitution_the_split_itself_is_read(world: Path) -> None:
    loaded = load(world, "fruit", "test", "en")
    assert (len(loaded.rows), loaded.substitution) == (40, None)
    assert "test" in loaded.rows[0].texts[0]


def test_parts_divide_the_rows_and_keep_groups_together(world: Path) -> None:
    first, second = ids(world, "fruit", "en", 0.0, 0.4), ids(world, "fruit", "en", 0.4, 1.0)
    assert first and second and not first & second and len(first | second) == 40
    assert all((id in first) == (str(int(id) ^ 1) in first) for id in first | second)  # pairs 2k, 2k+1 share a text


def test_translations_go_where_their_original_goes(world: Path) -> None:
    assert ids(world, "fruit", "de", 0.0, 0.5) == ids(world, "fruit", "en", 0.0, 0.5)


def test_translations_of_each_other_are_not_parted(world: Path) -> None:
    rows = load(world, "mine", "test", "de", half("mine", 0.0, 0.5)).rows
    kept = {row.id for row in rows}
    assert 0 < len(kept) < 72
    assert all(set(row.match or ()) <= kept for row in rows if isinstance(row, Sentence))


def test_rows_that_another_card_evaluates_in_any_language_are_dropped(world: Path) -> None:
    change = world / "berry" / "test-de.tsv"
    change.write_text("0\tEN dev, 3!\tsecond 7\tno\n", encoding="utf-8")
    declared = half("fruit", 0.0, 1.0, without_rows_of=("berry", "twins"))
    loaded = load(world, "fruit", "test", "en", declared)
    assert len(loaded.rows) == 39 and "7" not in {row.id for row in loaded.rows}
    assert loaded.substitution == "fruit test := fruit dev, without the rows of berry, twins (for the test)"
    before = data_fingerprint(world, [("fruit", "test", "en")], declared)
    change.unlink()
    assert data_fingerprint(world, [("fruit", "test", "en")], declared) != before
    plain = half("fruit", 0.0, 1.0)
    assert data_fingerprint(world, [("fruit", "test", "en")], plain) != before


def test_contexts_of_another_card_are_dropped(world: Path) -> None:
    test = world / "quiz" / "test-en.tsv"
    test.write_text("0\ten  context 3 of dev\twhich?\tcontext 3\n", encoding="utf-8")
    loaded = load(world, "quiz", "test", "en", half("quiz", 0.0, 1.0, without_contexts_of="quiz"))
    assert len(loaded.rows) == 36  # without 4 questions about that paragraph, whose spaces differ
    assert "without the contexts of quiz" in (loaded.substitution or "")
    with pytest.raises(UsageError, match="needs rows with a context"):
        load(world, "fruit", "test", "en", half("fruit", 0.0, 1.0, without_contexts_of="quiz"))


def test_a_substitution_that_leaves_nothing_is_an_error(world: Path) -> None:
    with pytest.raises(DataError, match="leaves no row"):
        load(world, "fruit", "test", "en", half("fruit", 0.0, 1e-9))


def test_the_fingerprint_is_of_content_and_of_everything_read(world: Path) -> None:
    needs, plain, part = [("fruit", "test", "de")], half("fruit", 0.0, 1.0), half("fruit", 0.0, 0.5)
    before = data_fingerprint(world, needs, plain), data_fingerprint(world, needs, part)
    (world / "fruit" / "test-de.tsv").unlink()  # not read: dev replaces it
    assert data_fingerprint(world, needs, plain) == before[0]
    english = world / "fruit" / "dev-en.tsv"
    english.write_text(english.read_text(encoding="utf-8").replace("en dev 1\t", "en dev one\t"), encoding="utf-8")

    assert data_fingerprint(world, needs, plain) == before[0]
    assert data_fingerprint(world, needs, part) != before[1]  # English decides which translations are in the part


def test_squad_without_the_paragraphs_of_xquad(shared_data: Path) -> None:
    without = Substitution(task="squad", split="train", use_split="dev", without_contexts_of="xquad", why="no train")
    counts = [len(load(shared_data, "squad", *one).rows) for one in (("dev", "en"), ("train", "en", (without,)))]
    assert counts == [10_570, 10_570 - 1_190]  # XQuAD has 1,190 of SQuAD dev's questions
