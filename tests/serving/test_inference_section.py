"""The report's section on inference cost: ratios, verdicts, the frontier, and what it refuses."""

from __future__ import annotations

import csv
import json
import random
from itertools import combinations, product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_records import arm, profile, stage
from report_records import make_run

from viaduct.metrics.difference import Estimate
from viaduct.metrics.speed import MeasuredInference, Ratio, speed, time_ratio
from viaduct.metrics.verdict import Decision, Verdict
from viaduct.report import page
from viaduct.report.contrast import Contrast, Contrasts
from viaduct.report.table import build_tables
from viaduct.results.record import StageCost
from viaduct.serving import comparison as inference
from viaduct.serving.frontier import DISK, LATENCY, MEMORY, Frontier, Point, frontier

VALUES = st.integers(0, 3).map(float)


def measured(factor: float, *, spread: float, seed: int, rounds: int = 20) -> MeasuredInference:
    """Paired rounds on a machine that is slow now and then, for both models alike."""
    noise = random.Random(seed)
    busy = [1 + (noise.random() < 0.3) * noise.random() for _ in range(rounds)]
    seconds = tuple(factor * slow * (1 + noise.gauss(0, spread)) for slow in busy)
    against = tuple(slow * (1 + noise.gauss(0, spread)) for slow in busy)
    return MeasuredInference("a", "k", 1, 1.0, seconds, against)


def test_intervals_hold_1_for_equal_models_and_not_for_a_slower_one() -> None:
    equal = [time_ratio(measured(1.0, spread=0.02, seed=seed)) for seed in range(40)]
    assert sum(ratio is not None and ratio.low <= 1 <= ratio.high for ratio in equal) >= 35
    for seed in range(5):
        slower, faster = (measured(factor, spread=0.02, seed=seed) for factor in (1.1, 0.9))
        assert speed(time_ratio(slower)) == "slower" and speed(time_ratio(faster)) == "faster"
        ratio = time_ratio(slower)
        assert ratio is not None and ratio.low < 1.1 < ratio.high


def test_a_hundredth_that_rounds_do_not_average_out_is_no_difference() -> None:
    for mean in (0.984, 1.016):
        assert speed(Ratio(mean, mean - 0.012, mean + 0.012)) == "unchanged", "equal models, each in its own process"
    assert speed(Ratio(0.94, 0.92, 0.97)) == "faster" and speed(Ratio(1.06, 1.03, 1.08)) == "slower"
    assert speed(Ratio(1.02, 0.98, 1.06)) == "cannot tell"


def test_the_interval_is_students_over_the_rounds() -> None:
    one = measured(1.05, spread=0.02, seed=7)
    logs = np.log(one.seconds) - np.log(one.against)
    for compared_arms, student in ((1, 2.0930), (5, 2.8609)):  # 19 degrees of freedom at 5 % and 1 %
        found = time_ratio(one, compared_arms)
        assert found is not None
        half = student * logs.std(ddof=1) / 20**0.5
        assert np.log(found) == pytest.approx([logs.mean(), logs.mean() - half, logs.mean() + half], rel=1e-3)
    still = MeasuredInference("a", "k", 1, 1.0, (2.0,) * 20, (1.0,) * 20)
    assert time_ratio(still) == pytest.approx((2.0, 2.0, 2.0))


def test_what_is_noisy_or_short_is_not_called_unchanged() -> None:
    assert speed(time_ratio(measured(1.0, spread=0.001, seed=3))) == "unchanged"
    alone, among_ten = (time_ratio(measured(1.0, spread=0.02, seed=5), compared) for compared in (1, 10))
    assert alone is not None and among_ten is not None
    assert among_ten.low < alone.low < alone.high < among_ten.high
    assert speed(time_ratio(measured(1.0, spread=0.3, seed=1))) == "cannot tell"
    assert time_ratio(measured(1.0, spread=0.01, seed=1, rounds=19)) is None
    assert speed(None) == "cannot tell"


def compared(*said: tuple[str, str, Verdict]) -> Contrasts:
    """Contrasts with these verdicts over all tasks."""
    none = Estimate(0.0, None, "", None)
    return Contrasts(
        tuple(
            Contrast(one, other, "", (), (), none, {}, {}, (), "", decision=Decision(verdict, 1, None, None, None))
            for one, other, verdict in said
        )
    )


def point(name: str, score: float, latency: float, disk: float, time: tuple[float, float] | None = None) -> Point:
    ratio = None if time is None else Ratio(sum(time) / 2, *time)
    return Point(name, name, "torch", "fp32", score, {LATENCY: latency, DISK: disk}, ratio)


VERDICTS: tuple[Verdict, ...] = ("higher", "lower", "equivalent", "no measurable difference", "no verdict")
POINTS = st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=5)


@given(POINTS, st.data())
def test_dominated_points_are_those_that_a_look_at_every_pair_finds(
    drawn: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    points = tuple(point(f"{n}", own[0], own[1], own[2], (own[3], own[3] + 0.5)) for n, own in enumerate(drawn))
    verdicts = {(one.arm, other.arm): data.draw(st.sampled_from(VERDICTS)) for one, other in combinations(points, 2)}
    found = Frontier(points, (), compared(*((*pair, verdict) for pair, verdict in verdicts.items())))
    turned = {"higher": "lower", "lower": "higher"}
    both = verdicts | {(b, a): turned.get(verdict, verdict) for (a, b), verdict in verdicts.items()}
    for costs in ((LATENCY,), (DISK,), (LATENCY, DISK)):
        expected = set()
        for one, other in product(points, points):
            assert one.time is not None and other.time is not None
            no_cheaper = all(one.costs[cost] >= other.costs[cost] for cost in costs)
            dearer = DISK in costs and one.costs[DISK] > other.costs[DISK]
            dearer = dearer or (LATENCY in costs and one.time.low > other.time.high)
            said = both.get((one.arm, other.arm))
            if no_cheaper and (said == "lower" or (said == "equivalent" and dearer)):
                expected.add(one.name)
        assert found.dominated(costs).keys() == expected


def test_noise_in_the_score_dominates_nobody() -> None:
    """Arms of one shape cost the same, and one of two scores is always the higher by chance."""
    points = tuple(point(name, score, 5.0, 9.0) for name, score in (("none", 0.50), ("a", 0.52), ("b", 0.48)))
    silent = Frontier(points, (), Contrasts())
    assert silent.dominated(silent.costs) == {}
    assert "none is called the worse choice" in silent.words[0]
    unsure = compared(("a", "none", "no measurable difference"), ("b", "none", "equivalent"))
    same = Frontier(points, (), unsure)
    assert same.dominated(same.costs) == {}
    assert same.words == (
        "Scores were compared, with the page's correction, for 2 of 3 pairs of points: none with a, none with b. None "
        "of them is the worse choice in everything that was measured.",
    )
    tested = Frontier(points, (), compared(("a", "none", "higher"), ("b", "none", "no measurable difference")))
    assert tested.dominated(tested.costs) == {"none": "a"}
    assert tested.words[0] == "none scores lower than a and costs no less in everything that was measured."


def test_an_equivalent_arm_dominates_only_where_it_is_measured_to_be_cheaper() -> None:
    said = compared(("a", "none", "equivalent"))
    for time, expected in (((1.01, 1.03), {"a": "none"}), ((0.99, 1.03), {}), (None, {})):
        points = (point("none", 0.5, 5.0, 9.0, (0.98, 1.0)), point("a", 0.5, 5.2, 9.0, time))
        found = Frontier(points, (), said)
        assert found.dominated(found.costs) == expected
        assert ("costs more (latency" in found.words[0]) == bool(expected)
    bigger = (point("none", 0.5, 5.0, 9.0), point("a", 0.5, 5.0, 9.5))
    assert Frontier(bigger, (), said).dominated((DISK,)) == {"a": "none"}


def test_engines_of_one_arm_have_one_score_and_are_not_compared() -> None:
    points = tuple(
        Point(f"a ({engine})", "a", engine, "fp32", 0.5, {DISK: size})
        for engine, size in (("onnx", 1.0), ("torch", 2.0))
    )
    assert Frontier(points, (), compared(("a", "a", "equivalent"))).dominated((DISK,)) == {}


def test_models_of_one_shape_share_what_they_cost_unless_their_rounds_differ() -> None:
    slow = {"latency_ms": {"p50": 14.0, "p95": 20.0, "p99": 25.0, "n": 200}}
    small = {"disk_bytes": 2**20, "latency_ms": {"p50": 5.0, "p95": 6.0, "p99": 7.0, "n": 200}}
    arms = (arm("none"), arm("caption-contrast", **slow), arm("snli-mnli", factor=0.4, keys="few", **small))
    run = make_run(tasks=("xnli",), substituted=())
    said = inference.compare([stage(arms)], run.costs)
    assert said is not None
    above = compared(("caption-contrast", "none", "higher"))
    found = frontier(said, build_tables(run.about, run.rows), above)
    assert found is not None
    costs = {point.arm: point.costs for point in found.points}
    assert costs["none"] == costs["caption-contrast"] == {LATENCY: 13.25, MEMORY: 3.0 * 2**30, DISK: 2.0**30}
    assert costs["snli-mnli"][LATENCY] == 5.0
    assert found.dominated(found.costs) == {"none": "caption-contrast"}, "it costs the same and scores more"
    assert "snli-mnli is faster than “none”." in said.words
    alone = inference.compare([stage([arm("none"), arm("caption-contrast", factor=1.3, **slow)])], run.costs)
    assert alone is not None
    apart = frontier(alone, build_tables(run.about, run.rows), Contrasts())
    assert apart is not None
    assert [point.costs[LATENCY] for point in apart.points] == [12.5, 14.0]


def test_the_stage_is_paid_once_where_nothing_changes_at_inference() -> None:
    path = "m/caption/intermediate/seed-1/joint"
    cost = StageCost(
        encoder="m", arm="caption", task="", stage="joint", path=path, seed=1, seconds=7200.0, tokens=1,
        padding_fraction=None, flops=None, peak_memory_bytes=1, device="cuda", threads=8, versions={}, finished="",
    )  # fmt: skip
    later = cost.model_copy(update={"path": "m/caption/xnli/seed-1/train", "seconds": 1e6})
    found = inference.compare([stage([arm("none"), arm("caption")])], (cost, later))
    assert found is not None
    assert found.words[0].startswith("Two copies of “none” took 0.99")
    assert (
        "cannot make inference cheaper; its cost is paid once, here 2.0 h of training (cuda, 8 threads)"
        in (found.words[1])
    )
    other = inference.compare([stage([arm("none"), arm("caption", keys="other")])], ())
    assert other is not None and "paid once" not in " ".join(other.words)
    assert inference.compare([], ()) is None


@pytest.mark.usefixtures("no_heat_map_files")
def test_the_page_shows_the_section_its_files_and_the_claim(tmp_path: Path) -> None:
    run = make_run(arms=("none", "caption"), tasks=("xnli",), substituted=())
    about = run.about.model_copy(update={"roles": {"none": "none", "caption": "caption"}})
    records = {"measured": (stage([arm("none"), arm("caption")]),)}
    path = page.write(about, run.rows, run.costs, tmp_path, records=records)
    text = path.read_text(encoding="utf-8")
    assert 'id="inference"' in text and "load average of the machine beforehand: 0.3" in text
    assert "21 (English) to 39 (Thai)" in text and "torch 2.13.0" in text
    assert json.loads((tmp_path / "claims.json").read_text())["Q3"]["verdict"] == "supported"
    with (tmp_path / "inference.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["verdict"] for line in lines] == ["unchanged", "unchanged"]
    assert float(lines[1]["time_ratio_low"]) < 1 < float(lines[1]["time_ratio_high"])
    points = json.loads((tmp_path / "frontier.json").read_text())["points"]
    assert [point["latency_ms"] for point in points] == [12.5, 12.5]
    assert "No difference in score between these points was tested" in text and "obody should" not in text
    assert ElementTree.parse(tmp_path / "frontier.svg").getroot().tag.endswith("}svg")
    again = page.write(about, run.rows, run.costs, tmp_path / "again", records=records)
    assert again.read_text(encoding="utf-8") == text
    slower = {"measured": (stage([arm("none"), arm("caption", factor=1.2)]),)}
    page.write(about, run.rows, run.costs, tmp_path, records=slower)
    assert json.loads((tmp_path / "claims.json").read_text())["Q3"]["verdict"] == "contradicted"


@pytest.mark.usefixtures("no_heat_map_files")
def test_arms_measured_under_different_conditions_are_not_compared(tmp_path: Path) -> None:
    other = profile()
    other["conditions"] |= {"threads": 4}
    measured_apart = (stage([arm("none"), arm("caption", conditions=other["conditions"])]),)
    run = make_run(arms=("none", "caption"), tasks=("xnli",), substituted=())
    page.write(*run, tmp_path, records={"measured": (stage([arm("none"), arm("caption")]),)})
    text = page.write(*run, tmp_path, records={"measured": measured_apart}).read_text(encoding="utf-8")
    assert "Nothing is compared:" in text and "threads: 1 against 4" in text
    assert not any((tmp_path / name).exists() for name in ("inference.csv", "frontier.json", "frontier.svg"))
    assert json.loads((tmp_path / "claims.json").read_text())["Q3"]["verdict"] == "cannot tell"


@pytest.mark.usefixtures("no_heat_map_files")
@pytest.mark.parametrize("missing", ["peak_bytes", "by_language"])
def test_what_was_not_said_is_shown_as_missing(missing: str, tmp_path: Path) -> None:
    made = profile()
    made["peak_bytes"] = {"in_all": None} if missing == "peak_bytes" else made["peak_bytes"]
    made["cost"] |= {"by_language": {}} if missing == "by_language" else {}
    changes = {"peak_bytes": made["peak_bytes"], "cost": made["cost"]}
    run = make_run(arms=("none", "caption"), tasks=("xnli",), seeds=(1,), substituted=())
    found = (stage([arm("none", rounds=3, **changes), arm("caption", rounds=3, **changes)]),)
    text = page.write(*run, tmp_path, records={"measured": found}).read_text(encoding="utf-8")
    assert "With 3 rounds, nothing can be said" in text and "too few rounds" in text
    assert ("not reported by the system" in text) == (missing == "peak_bytes")
    assert ("(English)" in text) == (missing != "by_language")
