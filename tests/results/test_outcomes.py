from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from viaduct.errors import StoreError
from viaduct.results.outcomes import FILE, LanguageOutcomes, ids_digest, numbered, read_outcomes, write_outcomes


def shares(**values: list[float]) -> LanguageOutcomes:
    length = len(next(iter(values.values())))
    units = np.arange(length, dtype=np.int32)[::-1]
    arrays = {name: np.array(one, np.float64) for name, one in values.items()}
    return LanguageOutcomes(arrays, units, ids_digest([str(one) for one in range(length)]), 0.5, None)


def counts(correct: list[int], predicted: list[int], gold: list[int]) -> LanguageOutcomes:
    values = {"correct": np.array(correct), "predicted": np.array(predicted), "gold": np.array(gold)}
    return LanguageOutcomes(values, np.arange(len(gold), dtype=np.int32), "digest", None, 0.0)


def test_the_mean_of_shares_and_of_linearised_f1_is_the_score() -> None:
    assert shares(accuracy=[1, 0, 1, 1]).scores().mean() == 0.75
    assert math.isclose(shares(f1=[1, 0.5, 0], exact_match=[1, 0, 0]).scores().mean(), (1.5 / 3 + 1 / 3) / 2)
    f1 = counts([2, 0, 1], [3, 1, 1], [2, 2, 4])
    assert f1.scores().mean() == pytest.approx(2 * 3 / 13, abs=1e-15)
    assert list(counts([0, 0], [0, 0], [0, 0]).scores()) == [0.0, 0.0]


def test_what_is_written_is_read_and_has_the_same_bytes(tmp_path: Path) -> None:
    written = {
        "de": shares(f1=[1.0, 0.25, 1 / 3, 0, 1, 1, 1, 1, 0], exact_match=[1, 0, 0, 0, 1, 1, 1, 1, 0]),
        "en": counts([2, 0, 300], [3, 1, 300], [2, 2, 70_000]),
    }
    write_outcomes(tmp_path, written)
    first = (tmp_path / FILE).read_bytes()
    write_outcomes(tmp_path, written)
    assert (tmp_path / FILE).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    read = read_outcomes(tmp_path)
    assert read is not None and list(read) == ["de", "en"]
    for language, one in written.items():
        back = read[language]
        assert (back.ids, back.chance, back.majority) == (one.ids, one.chance, one.majority)
        assert list(back.units) == list(one.units) and back.units.dtype == np.int32
        assert list(back.values) == list(one.values)
        for name, values in one.values.items():
            np.testing.assert_allclose(back.values[name], values, atol=1e-7)
        np.testing.assert_allclose(back.scores(), one.scores(), atol=1e-7)


def test_rows_of_one_id_have_one_number_in_all_languages() -> None:
    found = numbered({"de": ["10", "9", "2"], "en": ["9", "1"]})
    assert {language: list(numbers) for language, numbers in found.items()} == {"de": [3, 2, 1], "en": [2, 0]}
    assert ids_digest(["a", "b"]) != ids_digest(["b", "a"])


def test_no_file_and_a_damaged_one(tmp_path: Path) -> None:
    assert read_outcomes(tmp_path) is None
    write_outcomes(tmp_path, {"de": shares(accuracy=[1, 0])})
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-40])
    with pytest.raises(StoreError, match="damaged"):
        read_outcomes(tmp_path)
