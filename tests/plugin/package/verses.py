"""A package that plugs into Viaduct through all of its six doors, from this one file.

Verses are rows of their own kind, labelled by their metre. A target's field `tempered` divides the logits by a
temperature while the target is trained, in a stage of its own kind; the report has a section on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import Field

from viaduct.command import Command
from viaduct.doors import Room
from viaduct.metrics.score import Predictions, Score
from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import Record
from viaduct.rows import Row
from viaduct.runs.chain import Chain
from viaduct.runs.field import RecipeField
from viaduct.runs.parts import Spec
from viaduct.runs.stage import Context, Spent, Stage
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.kind import RowKind
from viaduct.training.train import TrainKind, TrainWork

# ---- a row kind, with its head ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verse(Row):
    """A line of verse and its metre."""

    text: str
    metre: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def gold(self) -> str | None:
        return self.metre

    @property
    def label_words(self) -> tuple[str, ...]:
        return () if self.metre is None else (self.metre,)


def encode_verses(rows: Sequence[Verse], at: int, tokenizer: Any, labels: Sequence[str], limits: Any, out: Any) -> None:
    """One sequence per verse; field `label` (examples,)."""
    encoding = tokenizer([row.text for row in rows], truncation=True, max_length=limits.max_length)
    for number, row in enumerate(rows):
        fields = {"label": [labels.index(row.metre)]} if labels and row.metre is not None else {}
        out.example(at + number, [encoding["input_ids"][number]], **fields)


def __getattr__(name: str) -> Any:
    """HEAD, made when it is first asked for: heads need torch, and whoever opens a door does not wait for it."""
    if name != "HEAD":
        raise AttributeError(name)
    from viaduct.heads.pair import PAIR

    return replace(PAIR, encode=encode_verses)


VERSE = RowKind(
    "verse",
    Verse,
    tokens_per_row=12,
    label_set="closed",
    is_target=True,
    head="verses:HEAD",
    predict="viaduct.inference.prediction:predict",
)

# ---- a card ----------------------------------------------------------------------------------------------------------


def read(files: Files, language: str, _split: str) -> Iterator[Verse]:
    for number, line in enumerate(files["rows"][0].read_text(encoding="utf-8").splitlines()):
        text, metre = line.split("\t")
        yield Verse(str(number), language, text, metre)


def share_right(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    right = sum(row.id in predictions and predictions[row.id].prediction == row.gold for row in rows)
    missing = sum(row.id not in predictions for row in rows)
    return (Score("metre", right / len(rows), len(rows), missing, "metre|1"),)


CARD = Task(
    name="verses",
    title="Verses and their metre",
    kind="verse",
    languages=("en", "de"),
    labels=("iamb", "trochee"),
    sources=sources("official", read, "verses/{split}-{language}.tsv"),
    metric=share_right,
    metrics=("metre",),
    trained_on="verses",
    licence="made for tests",
    citation="",
)

# ---- a stage kind ----------------------------------------------------------------------------------------------------


class TemperedWork(TrainWork):
    """Train as Train does, with tempered logits."""

    kind: Literal["tempered"] = "tempered"  # type: ignore[assignment]
    temperature: float


class TemperedKind(TrainKind):
    """It leaves what Train leaves, and tempered.json."""

    name = "tempered"
    work = TemperedWork
    version = 1
    function = "verses:train"


TEMPERED = TemperedKind()


def train(context: Context, work: TemperedWork) -> Spent:
    from viaduct.training.finetuning import FineTuning

    class Tempered(FineTuning):
        def loss(self, model: Any, batch: Any) -> Any:
            return self.data.loss(model(batch) / work.temperature, batch)

    spent = Tempered(context, work).run()
    steps = json.loads((context.directory / "training.json").read_text(encoding="utf-8"))["steps"]
    found = {"steps": steps, "temperature": work.temperature}
    (context.directory / "tempered.json").write_text(json.dumps(found), encoding="utf-8")
    return spent


# ---- a recipe field --------------------------------------------------------------------------------------------------


class Tempered(Spec):
    """How a target is trained with tempered logits."""

    temperature: float = Field(gt=0)


class TemperedField(RecipeField[Tempered]):
    """Train the target with its logits divided by a temperature."""

    name = "tempered"
    owner = "target"
    model = Tempered

    def train_target(self, chain: Chain) -> Stage | None:
        asked, on = self.of(chain.target), chain.census.task(chain.target.task).trained_on
        if asked is None or on is None:
            return None
        training, temperature = chain.target.training, asked.temperature
        return chain.add(TemperedWork(task=on, training=training, seed=chain.seed, temperature=temperature), on)

    def words(self, owner: Any) -> str:
        return f"logits divided by {owner.tempered.temperature:g}"


TEMPERED_FIELD = TemperedField()

# ---- a report section ------------------------------------------------------------------------------------------------


class StageTempered(Record):
    """What one stage says."""

    arm: str
    seed: int
    found: dict[str, float]


TEMPERED_FILE = StageFile("tempered", "tempered", "tempered.json", StageTempered, "found")


def build(results: RunResults) -> Content | None:
    lines = [{"arm": one.arm, "seed": one.seed, **one.found} for one in results.of(TEMPERED_FILE)]
    return Content({"lines": lines}) if lines else None


SECTION = Section(
    name="verses",
    title="Verses",
    place=560,
    template=Path(__file__).with_name("verses.html.j2"),
    build=build,
    reads=(TEMPERED_FILE,),
)

# ---- a command -------------------------------------------------------------------------------------------------------


def scan(text: str) -> None:
    """Say how many words a verse has."""
    typer.echo(f"{len(text.split())} words")


ROOM = Room(
    "verses",
    row_kinds=(VERSE,),
    cards=(CARD,),
    stage_kinds=(TEMPERED,),
    sections=(SECTION,),
    fields=(TEMPERED_FIELD,),
    commands=(Command("scan", scan),),
)
