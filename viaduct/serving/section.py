"""The report section on what the arms' models cost at inference, from a Measure stage."""

from __future__ import annotations

from pathlib import Path

from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import BASELINE
from viaduct.serving import frontier
from viaduct.serving.comparison import compare
from viaduct.serving.records import MeasuredArms

MEASURED = StageFile("measured", "measure", "inference.json", MeasuredArms, None)
SEARCHED = StageFile("measured_search", "measure_search", "inference.json", MeasuredArms, None)


def _build(found: RunResults) -> Content | None:
    inference = compare((*found.of(MEASURED), *found.of(SEARCHED)), found.costs)
    if inference is None:
        return None
    if inference.refusal:
        refused = f"Cost at inference: nothing is compared: {inference.refusal}"
        return Content({"inference": inference, "frontier": None}, alarms=(refused,))
    files: dict[str, object] = {"inference.csv": [line.dumped() for line in inference.lines]}
    figures = []
    front = frontier.frontier(inference, found.tables, found.contrasts)
    if front is not None:
        files["frontier.json"] = frontier.content(front)
        figures.append(frontier.frontier_plot(front))
    # the claims are about how an arm compares with the model that had no intermediate training
    roles = found.about.roles
    against_baseline = roles.get(inference.first, inference.first) == BASELINE
    return Content(
        {"inference": inference, "frontier": front, "figures": figures, "axes": frontier.AXES},
        figures=figures,
        files=files,
        facts=[line.measured for line in inference.lines] if against_baseline else (),
    )


SECTION = Section(
    name="inference",
    title="Cost at inference",
    place=600,
    template=Path(__file__).with_name("inference.html.j2"),
    build=_build,
    reads=(MEASURED, SEARCHED),
    writes=("inference.csv", "frontier.json", "frontier.svg"),
)
