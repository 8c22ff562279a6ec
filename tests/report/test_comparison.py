"""Two runs against each other: the report's own numbers, seeds that pair and that do not, what cannot be compared."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import small_world
from json_keys import require_documented
from programs import viaduct
from report_records import Outcomes, Run, gains, make_run
from rich.console import Console

from viaduct import api, tables
from viaduct.errors import DataError, UsageError
from viaduct.metrics.classification import accuracy
from viaduct.report import alike
from viaduct.report.comparison import Side, compare_runs
from viaduct.report.contrast import IN_ENGLISH, OVERALL, contrast_lines
from viaduct.report.contrasts import Comparing, contrasts
from viaduct.report.number import points
from viaduct.results.record import MADE_FROM
from viaduct.runs.execute import Options
from viaduct.runs.spec import Target

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from verdicts_world import Scenario, draw

TASKS = ("xnli", "xquad", "tatoeba")
NUMBERS = ("difference", "low", "high", "standard_error", "p")


def side(run: Run, name: str = "first") -> Side:
    return Side(name, *run, Outcomes(run.rows))


def changed(run: Run, task: str, **fields: object) -> Run:
    """The run with other fields in the rows of one task."""
    rows = [row.model_copy(update=fields) if row.task == task else row for row in run.rows]
    return Run(run.about, tuple(rows), run.costs)


@pytest.fixture(scope="module")
def run() -> Run:
    made = make_run(tasks=TASKS, arms=("none", "up", "same"), substituted=())
    return gains(made, up=(0.03, 0.002), same=(0.0, 0.001), none=(0.0, 0.001))


def test_arms_of_one_run_have_the_numbers_of_its_report(run: Run) -> None:
    comparing = Comparing.of(run.about, [("up", "same")], partial(alike.differing, alike.conditions(run.costs)))
    reported = contrasts(run.about, run.rows, comparing, Outcomes(run.rows))
    own = side(run)
    for arm, against in (("up", "none"), ("up", "same"), ("same", "none")):
        found = compare_runs(own, own, (arm, against))[0]
        for task in (OVERALL, *TASKS, IN_ENGLISH):
            one = found.of(f"first/{arm}", task, f"first/{against}")
            other = reported.of(arm, task, against)
            assert one and other and (one.estimate, one.by_code, one.weights) == (
                other.estimate, other.by_code, other.weights
            ), (arm, task)  # fmt: skip
            assert (one.estimate.interval, one.seeds, one.missing) == (other.estimate.interval, (1, 2, 3), ())


def test_arms_of_one_name_are_paired_by_the_seeds_of_both(run: Run) -> None:
    later = Run(run.about, tuple(row for row in gains(run, up=(0.05, 0.002)).rows if row.arm != "same"), run.costs)
    found, notes = compare_runs(side(run), side(later, "later"))
    assert {(one.arm, one.against) for one in found.found} == {
        ("first/none", "later/none"), ("first/up", "later/up"),
    }  # fmt: skip
    one = found.of("first/up", OVERALL, "later/up")
    assert one is not None and notes == ()
    assert one.mean == pytest.approx(-0.02, abs=0.002) and one.verdict == "lower"
    same = found.of("first/none", "xnli", "later/none")
    assert same is not None and same.verdict == "equivalent"


def numbered(run: Run, *seeds: int) -> Run:
    """The run with these seeds in place of 1, 2, ..."""
    rows = [row.model_copy(update={"seed": seeds[row.seed - 1]}) for row in run.rows if row.seed <= len(seeds)]
    costs = [cost.model_copy(update={"seed": seeds[cost.seed - 1]}) for cost in run.costs if cost.seed <= len(seeds)]
    return Run(run.about.model_copy(update={"seeds": seeds}), tuple(rows), tuple(costs))


def evaluated_once(run: Run) -> Run:
    """The run with retrieval of the baseline, which no seed enters, for its first seed alone."""
    seed = run.about.seeds[0]
    rows = (row for row in run.rows if (row.task, row.arm) != ("tatoeba", "none") or row.seed == seed)
    return Run(run.about, tuple(rows), run.costs)


def test_without_three_seeds_in_common_all_seeds_count_unpaired_and_that_is_said() -> None:
    arms = {"arms": ("none", "up"), "tasks": TASKS, "substituted": (), "seeds": range(1, 6)}
    made = gains(make_run(**arms), up=(0.03, 0.004), none=(0.0, 0.004))
    three, five = numbered(made, 1, 2, 3), evaluated_once(numbered(made, 3, 12, 13, 14, 15))
    found, notes = compare_runs(side(three), side(five, "other"), ("up", "none"))
    pair = ("first/up", "other/none")
    assert notes == ("first/up and other/none are not paired: seeds 1 2 3 against 3 12 13 14 15",)
    assert {line["seeds"] for line in contrast_lines(found)} == {"1 2 3 against 3 12 13 14 15"}
    assert "1 2 3 against 3 12 13 14 15" in tables.compared(found)
    one = found.of(pair[0], "xnli", pair[1])
    means = [
        fmean(row.value for row in rows if (row.task, row.arm) == ("xnli", arm) and row.language != "en")
        for rows, arm in ((three.rows, "up"), (five.rows, "none"))
    ]
    assert one is not None and one.mean == pytest.approx(means[0] - means[1]) and one.verdict == "higher"
    retrieval = found.of(pair[0], "tatoeba", pair[1])
    assert retrieval is not None and retrieval.verdict == "higher", "no seed enters the other side, and it has them all"
    paired, notes = compare_runs(side(three), side(numbered(made, 1, 2, 3, 12, 13), "other"), ("up", "none"))
    assert notes == () and paired.found[0].seeds == (1, 2, 3)
    assert {line["seeds"] for line in contrast_lines(paired)} == {"1 2 3"}
    back = compare_runs(side(five, "other"), side(three), ("none", "up"))[0].of(pair[1], "xnli", pair[0])
    assert back is not None and (back.mean, back.estimate.p_value) == pytest.approx((-one.mean, one.estimate.p_value))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"split": "dev"}, "different split in en, accuracy: test against dev"),
        ({"substitution": "xnli test := xnli dev"}, "different stand-in in en, accuracy: none against xnli test"),
        ({"task_version": 2}, "different version of the card in en"),
        (
            {"signature": "accuracy|v2"},
            "different metric in en, accuracy: xnli:1|accuracy|norm:task against accuracy|v2",
        ),
        ({"signature": f"xnli:1|accuracy|norm:task{MADE_FROM}layer 7 of 12"}, "different vectors in en"),
        ({"n": 999}, "different number of rows in en, accuracy: 1,000 against 999"),
    ],
)
def test_scores_of_something_else_are_left_out_and_said(run: Run, fields: dict[str, object], words: str) -> None:
    found, notes = compare_runs(side(run), side(changed(run, "xnli", **fields), "other"))
    assert notes[0].startswith("xnli is left out: ") and words in notes[0]
    assert {one.task for one in found.found} == {OVERALL, "xquad", "tatoeba", IN_ENGLISH}
    assert found.found[0].tasks == ("xquad", "tatoeba")


def test_a_layer_that_dev_chose_is_part_of_an_arm(run: Run) -> None:
    made = [
        changed(run, "xnli", signature=f"accuracy{MADE_FROM}layer {at} of 12, the best of 12 on ntrex") for at in (7, 8)
    ]
    assert compare_runs(side(made[0]), side(made[1], "other"))[1] == ()


class OtherRows(Outcomes):
    """The test set of German has other rows."""

    def task(self, name):  # type: ignore[no-untyped-def]
        found = super().task(name)
        for own in (one for by_seed in found.values() for one in by_seed.values() if "de" in one):
            own["de"] = replace(own["de"], ids="others")
        return found


def test_other_test_rows_and_nothing_to_compare_are_told(run: Run) -> None:
    german = ("en", "de")
    rows = tuple(row for row in run.rows if row.task == "xnli" and row.language in german)
    small = Run(run.about, rows, run.costs)
    without = Run(run.about, (), run.costs)
    with pytest.raises(DataError, match="other has no scores"):
        compare_runs(side(small), side(without, "other"))
    others = Run(run.about, tuple(row for row in run.rows if row.task != "xnli"), run.costs)
    with pytest.raises(DataError, match=r"no task is in both: first has xnli and other has "):
        compare_runs(side(small), side(others, "other"))
    with pytest.raises(DataError, match=r"no result that can be compared\n  xnli is left out: different ids .* in de"):
        compare_runs(side(small), Side("other", *small, OtherRows(small.rows)))


def test_what_differs_between_the_runs_is_told(run: Run) -> None:
    about = run.about.model_copy(
        update={"encoder": "large", "settings": {"target": "3 epochs", "new": "1"}, "limit": 9}
    )
    rows = tuple(row.model_copy(update={"encoder": "large"}) for row in run.rows)
    costs = tuple(cost.model_copy(update={"device": "cuda"}) for cost in run.costs)
    found, notes = compare_runs(side(run), side(Run(about, rows, costs), "other"))
    assert notes[0].startswith("A quick look, no result")
    assert notes[1:] == (
        "encoder: base-multilingual against large",
        f"target: {run.about.settings['target']} against 3 epochs",
    )
    assert "computed differently: cpu against cuda" in found.found[0].estimate.why_not


def test_arms_that_are_not_there_are_refused(run: Run) -> None:
    own, other = side(run), side(run, "other")
    with pytest.raises(UsageError, match=r"unknown arm of other 'sam'. Did you mean 'same'"):
        compare_runs(own, other, ("up", "sam"))
    with pytest.raises(UsageError, match="first is compared with itself"):
        compare_runs(own, own)
    alone = Run(run.about, tuple(row for row in run.rows if row.arm == "up"), ())
    with pytest.raises(UsageError, match=r"no arm name in common \(up, and none\)"):
        compare_runs(side(alone), side(numbered(make_run(tasks=("xnli",), arms=("none",)), 1), "other"))


WORLD = {
    "tasks": [
        {"name": "xnli", "languages": ["de", "fr", "zh", "sw"], "examples": 400, "parallel": True},
        {"name": "pawsx", "languages": ["de", "fr", "zh"], "examples": 300},
    ],
    "seeds": 5, "arms": 1, "sd": {"seed": 0.5, "cell": 0.5}, "changed_examples": 0.08,
}  # fmt: skip


class Drawn:
    """Outcomes of one arm of a world, called "none" and with other seeds."""

    def __init__(self, world, arm, seeds):  # type: ignore[no-untyped-def]
        self._world, self._arm, self._seeds = world, arm, seeds

    def task(self, name):  # type: ignore[no-untyped-def]
        own = self._world.examples[name].by_arm[self._arm]
        return {"none": {seed: own[at + 1] for at, seed in enumerate(self._seeds)}}


def drawn(world, arm, *seeds):  # type: ignore[no-untyped-def]
    """A run of one arm of a drawn world."""
    made = make_run(tasks=("xnli", "pawsx"), arms=("none",), seeds=seeds, substituted=())
    values = {
        (task, code, seed): world.scores[arm][task][at + 1][code]
        for at, seed in enumerate(seeds)
        for task, own in world.scores[arm].items()
        for code in own[1]
    }
    keys = {(row.task, row.language, row.seed): row for row in made.rows}
    rows = tuple(keys[key].model_copy(update={"value": value}) for key, value in values.items())
    return Side(arm, made.about, rows, made.costs, Drawn(world, arm, seeds))


@pytest.mark.parametrize("seeds", [(1, 2, 3), (6, 7, 8), (4, 5, 6, 7, 8)], ids=["paired", "unpaired", "3 against 5"])
def test_runs_of_one_system_differ_by_nothing_and_a_better_one_is_found(seeds: tuple[int, ...]) -> None:
    rng, wrong, found, covered = np.random.default_rng(len(seeds) + seeds[0]), 0, 0, 0
    for gain in (0.0,) * 60 + (4.0,) * 15:
        scenario = Scenario.model_validate(WORLD | {"effects": [{"arm": 1, "points": gain}]})
        world = draw(scenario, rng)
        told = compare_runs(drawn(world, "arm1", *seeds), drawn(world, "none", 1, 2, 3))[0].found[0]
        assert told.estimate.interval is not None
        covered += told.estimate.interval[0] <= gain / 100 <= told.estimate.interval[1]
        wrong += gain == 0 and told.verdict in ("higher", "lower")
        found += gain > 0 and told.verdict == "higher"
    assert wrong <= 8, "3 are expected of 60; 9 or more have a probability below 1 %"
    assert covered >= 66 and found >= 12


def test_the_command_prints_what_the_report_wrote(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_heat_map_files: None
) -> None:
    cards = [replace(one, metric=accuracy, metrics=("accuracy",)) for one in small_world.CARDS if one.kind == "pair"]
    small_world.add_cards(monkeypatch.setattr, cards)
    recipe = small_world.recipe(targets=(Target(task="fruit"), Target(task="berry")), seeds=(1, 2, 3))
    store, rows = tmp_path / "store", tmp_path / "rows"
    how = {"options": Options(device="cpu", threads=1, poll_seconds=0.01), "console": Console(quiet=True)}
    directory = api.run(recipe, data=world, store=store, rows=rows, **how).directory  # type: ignore[arg-type]
    folder, _ = api.add_rows("small", store=store, rows=rows)
    with (directory / "contrasts.csv").open(encoding="utf-8", newline="") as lines:
        reported = {line["task"]: line for line in csv.DictReader(lines) if line["family"] == "all"}
    at, options = ["--arms", "quiz", "none"], ["--store", str(store), "--rows", str(rows)]
    part = next(folder.glob("*.rows.xz"))
    for runs in ((directory, directory), (folder, part), ("small", folder, *options)):
        done = viaduct("compare", *map(str, runs), *at, "--json")
        assert done.status == 0, done.errors
        document = json.loads(done.output)
        require_documented("compare", document)
        found = {line["task"]: line for line in document["contrasts"] if line["family"] == "all"}
        assert found.keys() == reported.keys() and reported["fruit"]["low"]
        for task, line in reported.items():
            own = ["" if found[task][name] is None else str(found[task][name]) for name in NUMBERS]
            assert own == [line[name] for name in NUMBERS], (runs, task)
        assert "not paired" not in done.errors
    printed = viaduct("compare", "small", str(folder), *options, *at).output
    assert "  1 2 3  " in printed and points(float(reported["fruit"]["difference"]), 2) in printed
    done = viaduct("compare", "small", "smal", *options)
    assert (done.status, done.output) == (2, "") and "there is no run 'smal'" in done.errors
    done = viaduct("compare", "small", str(directory / ".." / "small"), *options)
    assert done.status == 2 and "small is compared with itself" in done.errors
