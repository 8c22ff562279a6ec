"""Sections of the report: what a room brings stands at its place, and leaves with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_records import make_run

from viaduct.report import section as door
from viaduct.report.claims import claims
from viaduct.report.evidence import Claim, Finding
from viaduct.report.page import write
from viaduct.report.section import Content, Section, StageFile
from viaduct.results.record import Record


class Weather(Record):
    """What one arm and seed had."""

    arm: str
    seed: int
    sky: dict[str, str]


SKY = StageFile("weather", "train", "sky.json", Weather, "sky")


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Section:
    """A section of another package, the only one."""
    template = tmp_path / "weather.html.j2"
    template.write_text(
        '{% from "macros.html.j2" import plural %}'
        "<p>{{ plural(skies | length, 'sky') }}: {{ skies | join(', ') }}</p>"
    )

    def build(found: Any) -> Content | None:
        skies = [one.sky["colour"] for one in found.of(SKY)]
        files = {"weather.json": {"skies": skies}, "weather.csv": [{"sky": sky} for sky in skies]}
        return Content({"skies": skies}, files=files, facts=skies) if skies else None

    def rule(evidence: Any) -> Finding:
        return Finding("supported", f"{len(evidence.facts.get('weather', ()))} skies; {evidence.arms.get('sunny')}")

    claim = Claim("W1", "The sky is blue", "looking up", rule, kind="setup", source="open", provenance="open")
    one = Section(
        name="weather", title="The weather", place=150, template=template, build=build, reads=(SKY,),
        writes=("weather.json", "weather.csv"), claims=(claim,), roles={"sunny": "trained outdoors"},
    )  # fmt: skip
    monkeypatch.setattr(door, "offered", lambda name, kind: {"weather": one})
    return one


@pytest.mark.usefixtures("no_heat_map_files")
def test_a_section_has_its_place_its_files_and_its_claims(weather: Section, tmp_path: Path) -> None:
    run = make_run(tasks=("xnli",), seeds=(1,))
    about = run.about.model_copy(update={"roles": {"none": "none", "snli-mnli": "sunny"}})
    read = SKY.read('{"colour": "<blue>"}', "none", 1)
    html = write(about, run.rows, run.costs, tmp_path / "out", records={"weather": [read]}).read_text(encoding="utf-8")
    assert "1 sky: &lt;blue&gt;" in html and '<h2 id="weather">The weather</h2>' in html
    places = [html.index(f'<h2 id="{name}">') for name in ("scores", "weather", "tested")]
    assert places == sorted(places)
    assert "snli-mnli (trained outdoors)" in html and ", weather.json, weather.csv" in html
    assert json.loads((tmp_path / "out" / "weather.json").read_text()) == {"skies": ["<blue>"]}
    assert (tmp_path / "out" / "weather.csv").read_text() == "sky\n<blue>\n"
    assert [claim.id for claim in claims()][-1] == "W1"
    judged = json.loads((tmp_path / "out" / "claims.json").read_text())["W1"]
    assert (judged["verdict"], judged["why"]) == ("supported", "1 skies; snli-mnli")


@pytest.mark.usefixtures("no_heat_map_files")
def test_a_section_without_anything_to_say_leaves_nothing_of_an_earlier_report(
    weather: Section, tmp_path: Path
) -> None:
    run = make_run(tasks=("xnli",), seeds=(1,))
    write(*run, tmp_path, records={"weather": [Weather(arm="none", seed=1, sky={"colour": "grey"})]})
    assert (tmp_path / "weather.json").exists()
    html = write(*run, tmp_path).read_text(encoding="utf-8")
    assert "weather" not in html
    assert not list(tmp_path.glob("weather.[jc]s*"))


def test_rooms_bring_their_sections() -> None:
    assert [one.name for one in door.sections()] == ["images", "forgetting", "inference", "translations", "curves"]
    assert all(one.template.is_file() for one in door.sections())
