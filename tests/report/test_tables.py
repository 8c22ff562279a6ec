"""What the tables, the files beside the page, the costs and the words say, against numbers worked out by hand."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import Outcomes, make_run

from viaduct.errors import DataError
from viaduct.report import number, spending, table, words
from viaduct.report.contrast import OVERALL
from viaduct.report.contrasts import contrasts
from viaduct.report.words import ON


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_files_hold_fractions_and_agree_with_each_other(holed):
    lines = read_csv(holed.directory / "main_table.csv")
    report = json.loads((holed.directory / "report.json").read_text(encoding="utf-8"))
    assert len(lines) == len(report["tables"]["main_table"])
    values = [float(line["value"]) for line in lines if line["value"]]
    assert values and all(0 < value < 1 for value in values)
    gone = next(line for line in lines if (line["arm"], line["task"]) == ("snli-mnli", "bucc"))
    assert gone["value"] == "" and gone["missing"] == "this arm has no result for this task"
    assert len(report["records"]["results"]) == len(holed.run.rows)
    assert report["about"]["recipe"] == holed.run.about.recipe


def test_per_language_file_has_every_language_and_metric(holed):
    lines = read_csv(holed.directory / "per_language.csv")
    panx = [line for line in lines if line["task"] == "panx" and line["arm"] == "snli-mnli"]
    assert {line["metric"] for line in panx} == {"f1", "precision", "recall", "token_accuracy"}
    headline = {line["language"]: line for line in panx if line["headline"] == "True"}
    assert len(headline) == 40
    assert headline["yo"]["value"] == "" and headline["ka"]["family"] == "Kartvelian"


def test_transfer_gap_is_english_minus_the_others_and_retrieval_has_none(whole):
    lines = read_csv(whole.directory / "transfer_gap.csv")
    assert {line["task"] for line in lines} == {"xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa"}
    for line in lines:
        assert float(line["gap"]) == pytest.approx(float(line["english"]) - float(line["mean_of_others"]))


def test_untrained_baseline_is_paired_with_every_seed():
    run = make_run(tasks=("bucc", "xnli"))
    rows = [row for row in run.rows if not (row.arm == "none" and row.task == "bucc" and row.seed > 1)]
    tables = table.build_tables(run.about, rows)
    cell = tables.cell("none", "bucc")
    assert cell.seedless and tables.complete
    found = contrasts(run.about, rows, outcomes=Outcomes(rows))
    other = found.of("caption-contrast", "bucc")
    assert other.seeds == (1, 2, 3) and other.verdict == "higher" and found.of("caption-contrast").seeds == (1, 2, 3)
    trained = [row for row in run.rows if not (row.arm == "none" and row.task == "xnli" and row.seed > 1)]
    partial = contrasts(run.about, trained, outcomes=Outcomes(trained)).of("caption-contrast", "xnli")
    assert partial.seeds == (1,) and partial.verdict == "no verdict", "a trained baseline is never repeated"


def test_an_arm_with_the_very_score_of_an_untrained_baseline_has_it_for_every_seed():
    """An arm whose targets are only trained longer shares retrieval with the baseline; it was "1 of 3 seeds"."""
    run = make_run(tasks=("bucc", "xnli"), arms=("none", "longer", "other"))
    once = [row for row in run.rows if row.task != "bucc" or row.arm == "other" or row.seed == 1]
    shared = {row.language: row for row in once if (row.arm, row.task) == ("none", "bucc")}
    same = [
        shared[row.language].model_copy(update={"arm": "longer"}) if (row.arm, row.task) == ("longer", "bucc") else row
        for row in once
    ]
    tables = table.build_tables(run.about, same)
    assert tables.cell("longer", "bucc").seedless and not tables.cell("other", "bucc").seedless and tables.complete
    found = contrasts(run.about, same, outcomes=Outcomes(same))
    assert found.of("longer", "bucc").seeds == (1, 2, 3) and found.of("longer", "bucc").mean == 0
    apart = table.build_tables(run.about, once)
    assert not apart.cell("longer", "bucc").seedless, "a score of its own may depend on seeds that are not done yet"


def test_languages_of_the_card_that_nobody_evaluated_are_named():
    run = make_run(tasks=("pawsx",), seeds=(1,))
    tables = table.build_tables(run.about, run.rows, languages={"pawsx": ("en", "de", "sw")})
    assert tables.columns[0].absent == ("sw",)
    assert not tables.complete
    assert tables.average("snli-mnli").missing == (), "beyond those that no arm has"


def test_family_order_puts_families_together_and_strangers_last():
    assert table.family_order(("zh", "xx", "en", "ja", "my", "de")) == ("de", "en", "my", "zh", "ja", "xx")


def test_shared_stages_count_once():
    run = make_run(arms=("none", "caption-contrast"), tasks=("xnli",), seeds=(1,))
    spent = spending.build_spending(run.about, (*run.costs, *run.costs))
    total = spent.total
    assert total is not None
    assert total.seconds == pytest.approx(sum(cost.seconds for cost in run.costs))
    assert total.stages == len(run.costs)
    assert spent.arms[0] == spending.SHARED
    shared = [cost.seconds for cost in run.costs if "" in (cost.arm, cost.task)]
    assert total.shared_seconds == pytest.approx(sum(shared)) and len(shared) == 2


def test_padding_is_weighted_by_slots_and_none_where_there_are_no_batches():
    run = make_run(arms=("none",), tasks=("xnli",), seeds=(1,))
    pretrain, train = (cost for cost in run.costs if cost.stage in ("pretrain", "train"))
    few = train.model_copy(update={"tokens": 100, "padding_fraction": 0.5})
    many = pretrain.model_copy(update={"tokens": 900, "padding_fraction": 0.0})
    score = next(cost for cost in run.costs if cost.stage == "score")
    spent = spending.build_spending(run.about, (few, many, score))
    assert spent.total is not None and spent.total.padding_fraction == pytest.approx(100 / 1100)
    assert next(line for line in spent.lines if line.stage == "score").padding_fraction is None


def test_what_was_computed_in_bfloat16_is_said():
    run = make_run(arms=("none",), tasks=("xnli",), seeds=(1,))
    costs = [cost.model_copy(update={"precision": "bf16" if cost.stage == "train" else None}) for cost in run.costs]
    devices = spending.build_spending(run.about, costs).devices
    (half,) = [device for device in devices if "bf16" in device]
    assert half.endswith(", products in bf16") and half.removesuffix(", products in bf16") in devices


def test_an_interval_is_students_where_examples_add_nothing():
    """The widest that is ever needed with these seeds; never narrower than the one over seeds alone."""
    run = make_run(tasks=("bucc",), arms=("none", "snli-mnli"))
    values = {1: 0.51, 2: 0.52, 3: 0.53}
    rows = [row.model_copy(update={"value": values[row.seed] if row.arm == "snli-mnli" else 0.5}) for row in run.rows]

    class Same(Outcomes):
        """No example differs between arms."""

        def task(self, name):
            kept = super().task(name)
            return dict.fromkeys(kept, kept["none"])

    low, high = contrasts(run.about, rows, outcomes=Same(rows)).of("snli-mnli").estimate.interval
    reach = 4.302653 * 0.01 / 3**0.5
    assert (low, high) == pytest.approx((0.02 - reach, 0.02 + reach), abs=1e-6)
    low, high = contrasts(run.about, rows, outcomes=Outcomes(rows, examples=100)).of("snli-mnli").estimate.interval
    assert low < 0.02 - 1.01 * reach and high > 0.02 + 1.01 * reach


def test_many_arms_are_grouped_by_verdict():
    run = make_run(
        arms=("none", "caption-contrast", "text-only", "a", "b", "c"), tasks=("xnli", "pawsx"), substituted=()
    )
    tested = contrasts(run.about, run.rows, outcomes=Outcomes(run.rows))
    said = words.summary(run.about, table.build_tables(run.about, run.rows), tested).verdicts
    assert 1 < len(said) < 5
    for whole in tested.found:
        if whole.task == OVERALL:
            (place,) = [name for name, names in said.items() if re.search(rf"\b{whole.arm} \(", names)]
            assert place == f"Mean over tasks, {ON[whole.verdict].removesuffix(' on')}"


@pytest.mark.parametrize("why", [{"limit": 10}, {"miniature": True}])
def test_what_is_no_result_has_an_answer_and_no_verdicts(why):
    run = make_run(tasks=("xnli", "pawsx"), substituted=())
    tested = contrasts(run.about, run.rows, outcomes=Outcomes(run.rows))
    declared = {"deciding": (("snli-mnli", "none", "xnli"),), "expected": ("higher",)}
    tables = table.build_tables(run.about, run.rows)
    whole = words.summary(run.about.model_copy(update=declared), tables, tested)
    assert whole.deciding and whole.verdicts and whole.rule == words.RULE
    said = words.summary(run.about.model_copy(update={**declared, **why}), tables, tested)
    assert said.answer.startswith("Not answered: ") and not said.deciding and not said.verdicts and not said.rule


def test_the_first_lines_claim_no_more_than_the_tests():
    """One arm of twelve whose seeds agree by chance: its interval excludes 0, its corrected p-value is not small."""
    arms = ("none", *(f"arm-{letter}" for letter in "abcdefghijkl"))
    run = make_run(arms=arms, tasks=("xnli",), seeds=(1, 2, 3), substituted=())
    generator = np.random.default_rng(1)
    rows = tuple(
        row.model_copy(update={"value": 0.5 + float(generator.normal(0, 0.01)) - 0.012 * (row.arm == "arm-a")})
        for row in run.rows
    )
    tested = contrasts(run.about, rows, outcomes=Outcomes(rows))
    found = tested.of("arm-a")
    assert found.estimate.interval[1] < 0 and found.estimate.p_value < 0.05
    assert found.verdict == "no measurable difference" and found.decision.comparisons == 12
    said = words.summary(run.about, table.build_tables(run.about, rows), tested).verdicts
    assert not [name for name in said if "lower" in name]


@given(st.floats(-1, 1))
def test_points_round_trip_and_never_show_a_signed_zero(value):
    text = number.points(value)
    assert float(text.replace(number.MINUS, "-")) == pytest.approx(100 * value, abs=0.0501)
    assert text == "0.0" or text[0] in f"+{number.MINUS}"
    assert "-" not in text and text not in ("+0.0", f"{number.MINUS}0.0")


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.5 s"), (42, "42 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds, text):
    assert number.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (5010, "5,010"), (9_999_999, "9,999,999"), (12_340_000, "12.3 M"), (4.5e9, "4.5 G")]
)
def test_counts(value, text):
    assert number.count(value) == text


def test_numbers_with_their_nouns():
    assert (number.plural(1, "seed"), number.plural(3, "seed"), number.plural(0, "task")) == (
        "1 seed",
        "3 seeds",
        "0 tasks",
    )


def test_rows_whose_sentences_became_vectors_in_other_ways_are_compared():
    """The layer that an arm chose is told, and is no other metric; another metric is."""
    run = make_run(tasks=("bucc", "xnli"))
    rows = list(run.rows)
    at = next(at for at, row in enumerate(rows) if row.task == "bucc")
    rows[at] = rows[at].model_copy(update={"signature": f"{rows[at].signature}|vectors: layer 3 of 12"})
    assert len(table.comparable(run.about, rows)) == len(table.comparable(run.about, run.rows))
    rows[at] = rows[at].model_copy(update={"signature": "another"})
    with pytest.raises(DataError, match="cannot be compared"):
        table.comparable(run.about, rows)
