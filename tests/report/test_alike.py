"""What arms were computed with is on the page, and what differs between the sides of a comparison is told in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_records import make_run

from viaduct.report import page
from viaduct.report.alike import build_alike, conditions, differing
from viaduct.results.record import StageCost

NEW = {"torch": "2.13.0", "python": "3.11.2"}
OLD = {**NEW, "torch": "2.12.0"}


def cost(arm: str, stage: str, seed: int = 1, **changes: object) -> StageCost:
    told: dict[str, object] = {
        "encoder": "base", "arm": arm, "task": "xnli", "stage": stage, "path": f"{arm}/{stage}/{seed}", "seed": seed,
        "seconds": 1.0, "tokens": 0 if stage == "score" else 9, "padding_fraction": None, "flops": None,
        "peak_memory_bytes": 1, "device": "cpu", "threads": 2, "precision": "fp32" if stage == "train" else None,
        "versions": NEW, "finished": "",
    }  # fmt: skip
    return StageCost.model_validate({**told, **changes})


def chain(arm: str, seed: int = 1, **changes: object) -> list[StageCost]:
    return [cost(arm, stage, seed, **changes) for stage in ("train", "predict", "score")]


def words(costs: list[StageCost], *tasks: str) -> tuple[str, ...]:
    found = conditions(costs)
    back = differing(found, "none", "a", tasks or None)
    assert bool(back) == bool(differing(found, "a", "none", tasks or None))
    return differing(found, "a", "none", tasks or None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"versions": OLD}, ("torch 2.12.0 against 2.13.0 in training, prediction and scoring",)),
        ({"device": "cuda"}, ("cuda against cpu in training and prediction",)),
        ({"devices": 2}, ("2 x cpu against cpu in training and prediction",)),
        ({"threads": 1}, ("1 thread against 2 threads in training and prediction",)),
        ({"precision": "bf16"}, ("bf16 against fp32 in training",)),
        ({"versions": {**NEW, "scipy": "1.17.0"}}, ()),  # the other side's older record does not say
        ({"versions": {**NEW, "openvino": "absent"}}, ()),
        ({"machine": "another processor"}, ()),
    ],
)
def test_what_differs_is_told(changes: dict[str, object], expected: tuple[str, ...]) -> None:
    other = [cost("a", "train", **changes), *chain("a", **{**changes, "precision": None})[1:]]
    assert words([*chain("none"), *other]) == expected


def test_what_differs_in_both_arms_alike_is_no_difference() -> None:
    def arm(name: str) -> list[StageCost]:
        predicted = cost(name, "predict", device="cpu", threads=1)
        return [cost(name, "train", device="cuda"), predicted, *chain(name, 2, versions=OLD)]

    assert words([*arm("a"), *arm("none")]) == ()


def test_seeds_are_paired() -> None:
    one = [*chain("a", 1, versions=OLD), *chain("a", 2)]
    other = [*chain("none", 1), *chain("none", 2, versions=OLD)]
    (said,) = words([*one, *other])
    assert said.startswith("torch 2.12.0 and 2.13.0, but not for the same seeds or tasks, in training")


def test_an_intermediate_stage_must_be_like_some_training_of_the_other_arm() -> None:
    between = cost("a", "train", task="", path="between", versions=OLD)
    assert words([*chain("none"), *chain("a"), between]) == ("torch 2.12.0 against 2.13.0 in training",)
    assert words([*chain("none"), *chain("a"), between.model_copy(update={"versions": NEW})]) == ()
    # where the other arm trains nothing, its version is that of what it does
    untrained = chain("none")[1:]
    assert words([*untrained, *chain("a")[1:], between]) == ("torch 2.12.0 against 2.13.0 in training",)


def test_scoring_and_taking_layers_away_have_no_device() -> None:
    cut = cost("a", "compress", task="", tokens=0, device="cpu", threads=1, precision=None)
    gpu = [one.model_copy(update={"device": "cuda"}) for arm in ("none", "a") for one in chain(arm)[:2]]
    scored = [cost("none", "score", threads=1), cost("a", "score", threads=2)]
    assert words([*gpu, cut, *scored]) == ()


def test_a_stage_that_two_of_three_arms_share_counts_for_them() -> None:
    shared = cost("", "train", task="", versions=OLD, arms=("a", "b"))
    costs = [shared, *(one for arm in ("none", "a", "b") for one in chain(arm))]
    assert words(costs) == ("torch 2.12.0 against 2.13.0 in training",)
    assert differing(conditions(costs), "a", "b") == ()
    every = [cost("", "pretrain", task="", versions=OLD), *chain("none"), *chain("a")]
    assert words(every) == (), "without a list of arms all share it"


def test_a_task_is_asked_about_alone() -> None:
    costs = [*chain("none"), *chain("a"), *chain("none", task="panx"), *chain("a", task="panx", versions=OLD)]
    assert words(costs, "xnli") == ()
    assert (
        words(costs, "panx")
        == words(costs, "xnli", "panx")
        == words(costs)
        == ("torch 2.12.0 against 2.13.0 in training, prediction and scoring",)
    )
    assert differing(conditions(costs), "a", "nobody") == ()


def test_one_line_where_all_is_alike_and_seeds_by_value_where_not() -> None:
    alike = build_alike([*chain("none"), *chain("a")])
    assert alike.same == ("cpu", "fp32", "2 threads", "python 3.11.2", "torch 2.13.0")
    assert (alike.varying, alike.unlike) == ((), {})
    found = build_alike([*chain("none"), *chain("none", 2), *chain("a"), *chain("a", 2, versions=OLD, machine="B")])
    assert found.varying == ("torch",)
    assert found.lines["none"] == ("2.13.0",)
    where = "training, prediction and scoring, seed"
    assert found.lines["a"] == (f"2.12.0 ({where} 2); 2.13.0 ({where} 1)",)
    assert found.unlike == {"a": ("torch 2.12.0 against 2.13.0 in training, prediction and scoring",)}


def test_machines_of_seeds_are_listed_and_are_no_difference() -> None:
    costs = [*chain("none", machine="A"), *chain("a", machine="A"), *chain("a", 2, machine="B")]
    found = build_alike(costs)
    assert found.varying == ("machine",) and found.unlike == {}
    assert found.lines["a"] == ("A (training and prediction, seed 1); B (training and prediction, seed 2)",)


@pytest.mark.usefixtures("no_heat_map_files")
def test_the_page_says_how_arms_were_computed(tmp_path: Path) -> None:
    run = make_run(tasks=("xnli",), arms=("none", "snli-mnli"))
    whole = page.write(run.about, run.rows, run.costs, tmp_path / "alike").read_text(encoding="utf-8")
    assert "All arms were computed in the same way: cpu; 2 threads; python 3.11.2; torch 2.13.0" in whole
    changed = [
        one.model_copy(update={"versions": {**one.versions, "torch": "2.12.0"}, "arms": ("snli-mnli",)})
        if one.arm == "snli-mnli"
        else one
        for one in run.costs
    ]
    about = run.about.model_copy(update={"compare_unlike": True})
    html = page.write(about, run.rows, changed, tmp_path / "unlike").read_text(encoding="utf-8")
    assert "“snli-mnli” was computed differently from “none”: torch 2.12.0 against 2.13.0 in training" in html
    assert "The recipe allows claims nevertheless." in html
