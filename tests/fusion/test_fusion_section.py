"""The report's section on translations, and the claims about them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from viaduct.fusion.claims import CLAIMS, ROLES
from viaduct.fusion.records import (
    Coverage,
    FusedInference,
    FusedTraining,
    StageInference,
    StageTraining,
    StageTranslated,
    Translated,
    Way,
)
from viaduct.fusion.section import PREDICTED, SECTION, TRAINED, TRANSLATED
from viaduct.report import claims
from viaduct.report.cost_plot import Dot
from viaduct.report.drawing import Drawing
from viaduct.report.table_files import latex, tables
from viaduct.report.templates import environment

ALONE = Way(tokens=40.0, flops=1e9, latency_ms=5.0, rows_per_second=100.0)
TOGETHER = Way(tokens=82.0, flops=2.1e9, latency_ms=9.0, rows_per_second=45.0)
COVERAGE = (Coverage(language="de", rows=100, missing=3, unknown=1),)


def inference(arm: str, seed: int = 1, **changes: Any) -> StageInference:
    told = {
        "task": "xnli", "oracle": False, "scores": {}, "coverage": COVERAGE, "alone": ALONE, "together": TOGETHER,
        "sample": 64, "threads": 1, "load_average": 0.1,
    }  # fmt: skip
    return StageInference(arm=arm, seed=seed, found=FusedInference(**{**told, **changes}))


class Cell:
    score = None


class Tables:
    def __init__(self, **averages: float) -> None:
        self.averages = averages

    def cell(self, _arm: str, _task: str) -> Cell:
        return Cell()

    def average(self, arm: str) -> Any:
        score = self.averages.get(arm)
        return None if score is None else SimpleNamespace(score=SimpleNamespace(mean=score), missing=())


class Verdicts:
    """Only "filter" was compared with the baseline, and it is higher."""

    def of(self, arm: str, against: str) -> Any:
        return SimpleNamespace(verdict="higher") if (arm, against) == ("filter", "none") else None


class Found:
    contrasts = Verdicts()

    def __init__(self, records: dict[str, Any], **averages: float) -> None:
        self.records, self.tables = records, Tables(**averages)
        marks = {"filter": ("translate-train", "translations at inference")}
        settings = {"big begins with": "another encoder"}
        self.about = SimpleNamespace(arms=("none", "filter", "big", "plain"), marks=marks, settings=settings)

    def of(self, file: Any) -> Any:
        return self.records.get(file.name, [])


def content(*predicted: StageInference, **averages: float) -> Any:
    trained = FusedTraining(task="mnli", local=1, fused=1, alpha=0.5, temperature=0.1, coverage=COVERAGE)
    records = {TRAINED.name: [StageTraining(arm="filter", seed=1, found=trained)], PREDICTED.name: list(predicted)}
    plain = Translated(task="qqp", coverage=COVERAGE)
    records[TRANSLATED.name] = [StageTranslated(arm="plain", seed=seed, found=plain) for seed in (1, 2)]
    return SECTION.build(Found(records, **averages))  # type: ignore[arg-type]


def test_nothing_is_said_of_runs_without_translations() -> None:
    assert SECTION.build(Found({})) is None  # type: ignore[arg-type]


def test_cost_stands_beside_the_score_once_for_each_arm() -> None:
    found = content(inference("filter"), inference("filter", seed=2), inference("taught"))
    assert [(line.arm, line.how, line.times) for line in found.values["lines"]] == [
        ("filter", "the same rows alone", 1.0), ("filter", "with translations", 2.1),
        ("taught", "the same rows alone", 1.0), ("taught", "with translations", 2.1),
    ]  # fmt: skip
    assert found.files["fusion.csv"][1]["latency_ms"] == 9.0
    assert found.values["coverage"] == [
        ("train", "mnli", "de", 100, 3, 1), ("train", "qqp", "de", 100, 3, 1), ("predicted", "xnli", "de", 100, 3, 1),
    ]  # fmt: skip
    assert found.values["taught"] == [(0.5, 0.1)]


def test_arms_with_translations_are_drawn_by_score_and_cost_beside_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def plot(panels: Any, *words: str) -> Drawing:
        drawn.append(panels)
        return Drawing("frontier", words[-1], 1, 1, "")

    monkeypatch.setattr("viaduct.fusion.section.cost_plot", plot)
    found = content(inference("filter"), none=0.6, filter=0.7, big=0.9, plain=0.65)
    assert [one.name for one in found.figures] == ["translations_frontier"]
    latency, flops, tokens = drawn[0].values()
    assert latency == [Dot("none", 5.0, 0.6, False), Dot("filter", 9.0, 0.7, False), Dot("plain", 5.0, 0.65, False)]
    assert [dot.cost for dot in flops] == [1e9, 2.1e9, 1e9] and [dot.cost for dot in tokens] == [40.0, 82.0, 40.0]
    same = inference("filter", together=ALONE)
    content(same, none=0.6, filter=0.7)
    assert [dot.is_beaten for dot in drawn[1][next(iter(drawn[1]))]] == [True, False]
    assert not content(inference("filter"), none=0.6).figures, "no arm with translations has a whole average"


def test_an_oracle_is_shown_apart_and_has_no_line() -> None:
    found = content(inference("filter", oracle=True, scores={"de": 0.7, "fr": 0.8}))
    assert found.values["lines"] == [] and found.values["oracle_means"] == [pytest.approx(0.75)]
    html = environment().from_string(SECTION.template.read_text(encoding="utf-8")).render(found.values)
    (table,) = (one for one in tables(html) if one.name == "oracle_translation")
    told = latex(table)
    assert "Oracle, no result: human originals" in told and "no result" in table.label
    assert r"filter & xnli & 1 & de, fr & 75.0 \\" in told


def test_claims_are_listed_with_roles_that_arms_can_have() -> None:
    assert {claim.id for claim in CLAIMS} <= {claim.id for claim in claims.claims()}
    assert {"filter", "filter_alone", "translate_train", "mnli+filter"} <= ROLES.keys() <= claims.roles().keys()
    arms = {"filter": "A", "translate_train": "B", "squad+filter": "C", "squad+translate_train": "D"}
    pairs = {claim.id: list(claim.pairs(arms)) for claim in CLAIMS}
    assert pairs == {"F1": [], "F2": [("A", "B")], "F3": [], "F4": [("C", "D")]}
