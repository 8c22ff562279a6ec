"""Averages over languages, seeds and tasks: worked by hand, and nothing averaged over a hole in silence."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_records import make_run

from viaduct.errors import DataError
from viaduct.metrics.summary import Spread
from viaduct.report.contrast import Contrasts
from viaduct.report.contrasts import contrasts
from viaduct.report.table import ScoreCell, Tables, build_tables
from viaduct.results.record import About, ResultRow


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
        fingerprint="",
    )
    changed = row.model_copy(update=changes)
    return changed.model_copy(update={"fingerprint": f"{changed.arm} {changed.task} {changed.seed}"})


def _question_answering(language: str, f1: float, exact_match: float, **changes: object) -> list[ResultRow]:
    return [
        _row("xquad", language, f1, metric="f1", signature="f1|SQuAD 1.1|v1", **changes),
        _row("xquad", language, exact_match, metric="exact_match", signature="exact_match|SQuAD 1.1|v1", **changes),
    ]


def tables(rows: list[ResultRow], languages: dict[str, tuple[str, ...]] | None = None, seeds: int = 2) -> Tables:
    """Of a run in which the untrained baseline is not repeated, and which knows no data but these rows."""
    return build_tables(_about(seeds), rows, languages=languages or {})


def _about(seeds: int = 2, **changes: object) -> About:
    about = make_run(tasks=(), seeds=range(1, seeds + 1)).about
    return about.model_copy(update={"arms": (), "encoder": "mini"} | changes)


def differences(rows: list[ResultRow]) -> Contrasts:
    """Of the same run."""
    names = {"arms": dict.fromkeys(row.arm for row in rows), "tasks": dict.fromkeys(row.task for row in rows)}
    return contrasts(_about(**{name: tuple(own) for name, own in names.items()}), rows)


def cells(rows: list[ResultRow], languages: dict[str, tuple[str, ...]] | None = None) -> dict[str, ScoreCell]:
    """Arm -> its only cell."""
    return {cell.arm: cell for cell in tables(rows, languages).cells}


def averages(rows: list[ResultRow], languages: dict[str, tuple[str, ...]] | None = None) -> dict[str, ScoreCell]:
    return {average.arm: average for average in tables(rows, languages).averages}


def test_a_task_over_languages_and_seeds_with_the_baseline() -> None:
    rows = [
        _row("xnli", language, value + gain, seed=seed, arm=arm)
        for language, value in (("en", 0.8), ("sw", 0.4), ("zh", 0.6))
        for seed, arm, gain in ((1, "none", 0.0), (2, "none", 0.1), (1, "image", 0.05), (2, "image", 0.05))
    ]
    made = tables(rows)
    image, none = made.cell("image", "xnli"), made.cell("none", "xnli")
    assert none.headline and made.columns[0].split == "test"
    assert none.score == Spread(pytest.approx(0.65), pytest.approx(0.1 / 2**0.5), (1, 2))
    gap = next(gap for gap in made.gaps if gap.arm == "none")
    assert gap.others.mean == pytest.approx(0.55)
    assert gap.gap == Spread(pytest.approx(0.3), pytest.approx(0.0, abs=1e-12), (1, 2))
    swahili = next(cell for cell in made.per_language if (cell.arm, cell.language) == ("none", "sw"))
    assert swahili.score is not None and swahili.score.mean == pytest.approx(0.45)
    assert image.score == Spread(pytest.approx(0.65), pytest.approx(0.0, abs=1e-12), (1, 2))
    assert image.missing == none.missing == () and made.complete


def test_a_task_without_english_has_no_transfer_gap() -> None:
    made = tables([_row("tatoeba", "de", 0.8), _row("tatoeba", "sw", 0.2)])
    assert made.gaps == () and made.cell("none", "tatoeba").score == Spread(0.5, None, (1,))
    assert tables([_row("xnli", "en", 0.8)]).gaps == ()
    some = [_row("xnli", "en", 0.8), _row("xnli", "sw", 0.2), _row("xnli", "sw", 0.2, seed=2)]
    assert tables(some).gaps == (), "a seed without English"


def test_differences_are_paired_by_seed() -> None:
    values = {"image": {1: 0.5, 2: 0.7, 3: 0.9}, "none": {1: 0.4, 2: 0.5, 4: 0.1}, "other": {5: 0.1}}
    rows = [_row("xnli", "sw", value, seed=seed, arm=arm) for arm in values for seed, value in values[arm].items()]
    found = differences(rows)
    for task in ("xnli", ""):
        one = found.of("image", task)
        assert one is not None and one.mean == pytest.approx(0.15), "0.1 and 0.2"
        assert (one.seeds, one.missing) == ((1, 2), ("seed 3", "seed 4"))
        assert found.of("other", task) is None and found.of("none", task) is None


def test_missing_languages_are_named() -> None:
    rows = [
        _row("xnli", "en", 0.8),
        _row("xnli", "sw", 0.2),
        _row("xnli", "en", 0.9, arm="image"),
        _row("xnli", "en", 0.9, arm="image", seed=2),
        _row("xnli", "sw", 0.4, arm="image", seed=2),
    ]
    found = cells(rows)
    assert found["none"].missing == ()
    assert found["image"].missing == ("sw seed 1",)
    assert differences(rows).found == (), "the one seed of both lacks Swahili, and English is no target of transfer"
    made = tables(rows, {"xnli": ("en", "sw", "ur")})
    assert made.columns[0].absent == ("ur",) and not made.complete
    (only,) = tables([row for row in rows if row.language == "en"] + rows[1:2]).columns
    assert cells(rows[1:4])["image"].missing == ("sw",) and only.absent == ()


def test_metrics_are_kept_apart_with_the_headline_first() -> None:
    rows = [
        _row("udpos", "en", 0.9, metric="a_token_accuracy", headline=False, signature="a_token_accuracy|plain|v1"),
        _row("udpos", "en", 0.7, metric="f1", signature="f1|spans|v1"),
    ]
    found = [(one.metric, one.score.mean, one.headline) for one in tables(rows).cells if one.score is not None]
    assert found == [("f1", 0.7, True), ("a_token_accuracy", 0.9, False)]


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
        tables([_row("xnli", "en", 0.5), _row("xnli", "en", 0.5).model_copy(update=changes)])


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no results"):
        tables([])


def test_a_question_answering_task_counts_the_mean_of_its_two_scores() -> None:
    rows = [_row("xnli", "en", 0.8), _row("xnli", "sw", 0.4), *_question_answering("en", 0.7, 0.5)]
    found = averages(rows)["none"]
    assert (found.score, found.missing) == (Spread(pytest.approx(0.6), None, (1,)), ())
    alone = averages(rows[2:])["none"].score
    assert alone is not None and alone.mean == pytest.approx(0.6)


def test_averages_are_over_tasks_of_their_languages() -> None:
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
    found = averages(rows)
    assert found["image"].score == Spread(pytest.approx(0.575), pytest.approx(0.05 / 2**0.5), (1, 2))
    assert found["none"].score == Spread(pytest.approx(0.5), 0.0, (1, 2))
    compared = differences(rows).of("image")
    assert compared is not None and compared.mean == pytest.approx(0.15), "of XNLI: XQuAD has English only"
    assert (compared.tasks, compared.missing) == (("xnli",), ("xquad",))


WHOLE = [
    row
    for seed in (1, 2)
    for row in (
        _row("xnli", "en", 0.5, seed=seed, arm="whole"),
        _row("xnli", "sw", 0.5, seed=seed, arm="whole"),
        *_question_answering("en", 0.7, 0.5, seed=seed, arm="whole"),
    )
]


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
def test_an_average_with_a_hole_names_it(rows: list[ResultRow], missing: tuple[str, ...]) -> None:
    found = averages([*WHOLE, *rows])
    assert found["none"].missing == missing and found["whole"].missing == ()
    swapped = [row.model_copy(update={"arm": {"none": "image", "whole": "none"}[row.arm]}) for row in (*WHOLE, *rows)]
    assert averages(swapped)["image"].score == found["none"].score
    assert not tables([*WHOLE, *rows]).complete


VALUES = st.floats(0, 1)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.sampled_from(["en", "sw", "zh", "ar"]), VALUES, min_size=2),
    st.sets(st.integers(1, 5), min_size=1),
    st.randoms(use_true_random=False),
)
def test_tables_do_not_depend_on_the_order_of_rows(
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
    one, other = tables(rows), tables(shuffled)
    for arm in ("none", "image"):
        assert one.cell(arm, "xnli") == other.cell(arm, "xnli") and one.average(arm) == other.average(arm)
    assert one.gaps == tuple(sorted(other.gaps, key=lambda gap: one.arms.index(gap.arm)))
    compared = differences(rows).of("image")
    again = differences(shuffled).of("image")
    assert (compared is None) == (again is None) == (values.keys() == {"en"})
    if compared is not None and again is not None:
        assert compared.mean == again.mean == 0.0 and compared.estimate == again.estimate
    spread = [statistics.mean(row.value for row in rows if (row.seed, row.arm) == (seed, "none")) for seed in seeds]
    none = one.cell("none", "xnli").score
    assert none is not None and none.mean == pytest.approx(statistics.mean(spread))
