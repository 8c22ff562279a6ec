"""Averages over languages, seeds and tasks: worked by hand, and nothing averaged over a hole in silence."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.metrics.summary import (
    Difference,
    Spread,
    benchmark_averages,
    language_means,
    over_seeds,
    paired_difference,
    summarise,
    transfer_gap,
)
from viaduct.results.record import ResultRow


def _row(task: str, language: str, value: float, **changes: object) -> ResultRow:
    row = ResultRow(
        recipe="r",
        encoder="mini",
        arm="none",
        task=task,
        task_version=1,
        language=language,
        split="test",
        seed=1,
        metric="accuracy",
        headline=True,
        value=value,
        n=100,
        n_missing=0,
        signature="accuracy|exact|v1",
        selection="english dev",
        substitution=None,
        fingerprint="f",
    )
    return row.model_copy(update=changes)


def _question_answering(language: str, f1: float, exact_match: float, **changes: object) -> list[ResultRow]:
    return [
        _row("xquad", language, f1, metric="f1", signature="f1|SQuAD 1.1|v1", **changes),
        _row("xquad", language, exact_match, metric="exact_match", signature="exact_match|SQuAD 1.1|v1", **changes),
    ]


def test_means_over_languages_with_and_without_english() -> None:
    means = language_means({"en": 0.9, "sw": 0.5, "zh": 0.7})
    assert means.including_english == pytest.approx(0.7)
    assert means.excluding_english == pytest.approx(0.6)
    assert language_means({"en": 0.9}).excluding_english is None
    with pytest.raises(DataError, match="no language has a result"):
        language_means({})


def test_transfer_gap_is_english_minus_the_others_and_absent_where_there_is_no_english() -> None:
    assert transfer_gap({"en": 0.9, "sw": 0.5, "zh": 0.7}) == pytest.approx(0.3)
    assert transfer_gap({"sw": 0.5, "zh": 0.7}) is None
    assert transfer_gap({"en": 0.9}) is None


def test_spread_over_seeds_is_that_of_a_sample_and_absent_with_one_seed() -> None:
    assert over_seeds({3: 0.5}) == Spread(0.5, None, (3,))
    two = over_seeds({2: 0.6, 1: 0.4})
    assert (two.mean, two.standard_deviation, two.seeds) == (pytest.approx(0.5), pytest.approx(0.1 * 2**0.5), (1, 2))


def test_differences_are_paired_by_seed_and_unpaired_seeds_are_named() -> None:
    difference = paired_difference({1: 0.5, 2: 0.7, 3: 0.9}, {1: 0.4, 2: 0.5, 4: 0.1})
    assert difference == Difference(pytest.approx(0.15), pytest.approx(0.1 / 2**0.5), (1, 2), (3, 4))
    assert paired_difference({1: 0.5}, {2: 0.5}) is None


def test_a_task_summary_over_languages_and_seeds_with_the_baseline() -> None:
    rows = [
        _row("xnli", language, value + gain, seed=seed, arm=arm)
        for language, value in (("en", 0.8), ("sw", 0.4), ("zh", 0.6))
        for seed, arm, gain in ((1, "none", 0.0), (2, "none", 0.1), (1, "image", 0.05), (2, "image", 0.05))
    ]
    image, none = summarise(rows)
    assert (image.arm, none.arm, image.headline, image.split) == ("image", "none", True, "test")
    assert none.including_english == Spread(pytest.approx(0.65), pytest.approx(0.1 / 2**0.5), (1, 2))
    assert none.excluding_english is not None
    assert none.excluding_english.mean == pytest.approx(0.55)
    assert none.transfer_gap == Spread(pytest.approx(0.3), pytest.approx(0.0, abs=1e-12), (1, 2))
    assert none.by_language["sw"].mean == pytest.approx(0.45)
    assert none.difference is None
    assert image.difference == Difference(pytest.approx(0.0, abs=1e-12), pytest.approx(0.1 / 2**0.5), (1, 2), ())
    assert image.label == none.label == ""


def test_a_task_without_english_has_no_transfer_gap() -> None:
    (summary,) = summarise([_row("tatoeba", "de", 0.8), _row("tatoeba", "sw", 0.2)])
    assert summary.transfer_gap is None
    assert summary.including_english == summary.excluding_english == Spread(0.5, None, (1,))


def test_missing_languages_are_named_and_not_compared() -> None:
    rows = [
        _row("xnli", "en", 0.8),
        _row("xnli", "sw", 0.2),
        _row("xnli", "en", 0.9, arm="image"),
        _row("xnli", "en", 0.9, arm="image", seed=2),
        _row("xnli", "sw", 0.4, arm="image", seed=2),
    ]
    image, none = summarise(rows)
    assert none.missing == ()
    assert image.missing == ("sw seed 1",)
    assert image.label == "partial: sw seed 1"
    assert image.difference == Difference(pytest.approx(0.1), None, (1,), (2,)), "over English, which both have"
    (_, none) = summarise(rows, languages={"xnli": ("en", "sw", "ur")})
    assert none.label == "partial: ur"


def test_summaries_put_the_headline_first_and_keep_metrics_apart() -> None:
    rows = [
        _row("udpos", "en", 0.9, metric="a_token_accuracy", headline=False, signature="a_token_accuracy|plain|v1"),
        _row("udpos", "en", 0.7, metric="f1", signature="f1|spans|v1"),
    ]
    assert [(one.metric, one.including_english.mean) for one in summarise(rows)] == [
        ("f1", 0.7),
        ("a_token_accuracy", 0.9),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "two results for encoder mini, arm 'none', xnli accuracy in en, seed 1"),
        ({"split": "dev", "language": "sw"}, "cannot be compared"),
        ({"task_version": 2, "seed": 2}, "cannot be compared"),
        ({"signature": "accuracy|exact|v2", "arm": "image"}, "cannot be compared"),
    ],
)
def test_results_that_do_not_fit_together_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        summarise([_row("xnli", "en", 0.5), _row("xnli", "en", 0.5).model_copy(update=changes)])


def test_no_rows_and_foreign_languages_are_refused() -> None:
    with pytest.raises(DataError, match="no result rows"):
        summarise([])
    with pytest.raises(DataError, match="xnli: results in 'ro', which is not among its languages: en, sw"):
        summarise([_row("xnli", "ro", 0.5)], languages={"xnli": ("en", "sw")})


LANGUAGES = {"xnli": ("en", "sw"), "xquad": ("en",)}


def test_a_question_answering_task_counts_the_mean_of_its_two_scores() -> None:
    rows = [_row("xnli", "en", 0.8), _row("xnli", "sw", 0.4), *_question_answering("en", 0.7, 0.5)]
    (average,) = benchmark_averages([*rows, _row("other", "en", 0.0)], languages=LANGUAGES)
    assert {task: spread.mean for task, spread in average.by_task.items()} == pytest.approx({"xnli": 0.6, "xquad": 0.6})
    assert average.value == Spread(pytest.approx(0.6), None, (1,))
    assert (average.missing, average.label, average.difference) == ((), "", None)


def test_averages_are_compared_with_the_baseline_by_seed() -> None:
    rows = [
        row
        for seed in (1, 2)
        for arm, gain in (("none", 0.0), ("image", 0.1 * seed))
        for row in (
            _row("xnli", "en", 0.5 + gain, seed=seed, arm=arm),
            _row("xnli", "sw", 0.5 + gain, seed=seed, arm=arm),
            *_question_answering("en", 0.5, 0.5, seed=seed, arm=arm),
        )
    ]
    image, none = benchmark_averages(rows, languages=LANGUAGES)
    assert image.difference == Difference(pytest.approx(0.075), pytest.approx(0.05 / 2**0.5), (1, 2), ())
    assert none.difference is None


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        ([_row("xnli", "en", 0.8), _row("xnli", "sw", 0.4)], ("xquad",)),
        ([_row("xnli", "en", 0.8), *_question_answering("en", 0.7, 0.5)], ("xnli sw",)),
        (
            [
                *(_row("xnli", language, 0.5, seed=seed) for language in ("en", "sw") for seed in (1, 2)),
                *_question_answering("en", 0.7, 0.5, seed=2),
            ],
            ("xquad seed 1",),
        ),
        (
            [*(_row("xnli", language, 0.5, seed=seed) for language in ("en", "sw") for seed in (1, 2))][:3]
            + [row for seed in (1, 2) for row in _question_answering("en", 0.7, 0.5, seed=seed)],
            ("xnli sw seed 2",),
        ),
    ],
)
def test_an_average_with_a_hole_is_refused_or_labelled_partial(rows: list[ResultRow], missing: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=f"has holes: {', '.join(missing)}"):
        benchmark_averages(rows, languages=LANGUAGES)
    (average,) = benchmark_averages(rows, languages=LANGUAGES, allow_partial=True)
    assert average.missing == missing
    assert average.label == f"partial: {', '.join(missing)}"


def test_a_partial_average_is_not_compared_with_the_baseline() -> None:
    rows = [_row("xnli", "en", 0.5, arm=arm) for arm in ("none", "image")]
    image, _ = benchmark_averages(rows, languages=LANGUAGES, allow_partial=True)
    assert image.difference is None


VALUES = st.floats(0, 1)


@given(
    st.dictionaries(st.sampled_from(["en", "sw", "zh", "ar"]), VALUES, min_size=2),
    st.sets(st.integers(1, 5), min_size=1),
    st.randoms(use_true_random=False),
)
def test_summaries_do_not_depend_on_the_order_of_rows(
    values: dict[str, float], seeds: set[int], shuffler: random.Random
) -> None:
    rows = [
        _row("xnli", language, (value + seed / 7) / 2, seed=seed, arm=arm)
        for language, value in values.items()
        for seed in seeds
        for arm in ("none", "image")
    ]
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    languages = {"xnli": sorted(values)}
    assert summarise(shuffled) == summarise(rows)
    assert benchmark_averages(shuffled, languages=languages) == benchmark_averages(rows, languages=languages)
    image, none = summarise(rows)
    assert image.difference is not None
    assert image.difference.mean == 0.0
    spread = [statistics.mean(row.value for row in rows if (row.seed, row.arm) == (seed, "none")) for seed in seeds]
    assert none.including_english.mean == pytest.approx(statistics.mean(spread))
