"""A run's predictions, written as an XTREME submission and scored again, get the scores of the run."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from viaduct import api
from viaduct.errors import DataError, UsageError
from viaduct.miniature import world
from viaduct.results.store import Store
from viaduct.results.xtreme import FOLDERS
from viaduct.results.xtreme_formats import LABELS, Answers
from viaduct.rows import Pair, Sentence, Span, Tagged
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Pretrain, Recipe, Target
from viaduct.runs.stage import Context, Spent, Work, kind_of

RECIPE = Recipe(
    measure=None,
    name="whole",
    hypothesis="none",
    encoder=Pretrain(name="mini"),
    intermediates=(Intermediate(name="none"), Intermediate(name="mnli", tasks=("mnli",))),
    targets=tuple(Target(task=folder.card.name, languages="available") for folder in FOLDERS),
    seeds=(1, 2),
)


def stage(context: Context, _work: Work) -> Spent:
    """Trains nothing; predicts the gold for two rows in three, drawn with random numbers of the seed and arm."""
    work = context.work
    if work.kind != "predict":
        (context.directory / "encoder").mkdir()
        (context.directory / "encoder" / "config.json").write_text('{"hidden_size": 8}')
        return Spent()
    for language in work.languages:
        chance = random.Random(f"{context.directory} {language}".partition("mini")[2])
        rows = context.load(work.task, work.split, language).rows
        path = context.directory / "predictions" / f"{language}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [guess for row in rows if (guess := predicted(row, rows, work.task, chance)) is not None]
        path.write_text("".join(json.dumps(line | {"language": language}) + "\n" for line in lines))
    return Spent()


def predicted(row: Any, rows: Any, task: str, chance: random.Random) -> dict[str, Any] | None:
    right = chance.random() < 2 / 3
    match row:
        case Pair():
            return {"id": row.id, "prediction": row.label if right else rows[0].label}
        case Tagged():
            return {"id": row.id, "prediction": list(row.tags) if right else [row.tags[-1]] * len(row.tags)}
        case Span():
            # Some questions get no prediction at all, which the formats can express.
            return (
                {"id": row.id, "prediction": row.answers[0].text if right else "the tea"}
                if chance.random() < 0.9
                else None
            )
        case Sentence(side="source") if task == "bucc":
            english = [one.id for one in rows if one.side == "target"]
            return {"id": row.id, "prediction": next(iter(row.match), None) if right else english[0]}
        case Sentence(side="target") if task == "tatoeba":
            return {"id": row.id, "prediction": row.match[0] if right else rows[0].id}
    return None


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, store) after a run of all nine tasks."""
    folder = tmp_path_factory.mktemp("whole")
    world.write(folder / "data", scale=0.05)
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("pretrain", "train", "predict"):
            patch.setattr(kind_of(kind), "run", stage)
        api.run(
            RECIPE,
            data=folder / "data",
            store=folder / "store",
            options=Options(device="cpu", threads=1),
            console=Console(quiet=True),
            command="test",
        )
    return folder / "data", folder / "store"


@pytest.mark.parametrize(("arm", "seed"), [("none", 2), ("mnli", 1)])
def test_scores_survive_the_official_formats(run: tuple[Path, Path], tmp_path: Path, arm: str, seed: int) -> None:
    data, store = run
    directory, labels = tmp_path / "submission", tmp_path / "labels"
    count, notes = api.submission("whole", directory, data=data, store=store, arm=arm, seed=seed, labels=labels)
    assert count == sum(1 for path in directory.rglob("test-*"))
    assert any(note.startswith("xnli: without") for note in notes)
    scores = api.score(directory, labels, partial=True)
    found = {
        (task.card.name, language, metric): value
        for task in scores.tasks
        for language, score in task.by_language.items()
        for metric, value in score.values.items()
    }
    rows = [json.loads(line) for line in (store / "runs" / "whole" / "rows.jsonl").read_text().splitlines()]
    # Retrieval without any training is the same for every seed, so the store has it only once.
    mine = [
        row
        for row in rows
        if row["arm"] == arm and (row["seed"] == seed or (arm == "none" and row["selection"] == "untrained"))
    ]
    expected = {(row["task"], row["language"], row["metric"]): row["value"] for row in mine}
    assert found == pytest.approx(expected, abs=1e-12)
    assert {task.name for task in scores.tasks} == {folder.name for folder in FOLDERS}
    assert all(0.0 < task.task_score < 1.0 for task in scores.tasks)


def test_the_predictions_of_a_run_score_as_in_the_run(run: tuple[Path, Path], tmp_path: Path) -> None:
    data, store = run
    rows = [json.loads(line) for line in (store / "runs" / "whole" / "rows.jsonl").read_text().splitlines()]
    expected: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if row["arm"] == "none" and (row["seed"] == 2 or row["selection"] == "untrained"):
            expected.setdefault(row["task"], {})[row["language"], row["metric"]] = row["value"]
    for folder in FOLDERS:
        seed = "" if folder.group == "retrieval" else "seed-2/"
        made = store / f"mini/none/{folder.card.name}/{seed}predict/predictions"
        shutil.copytree(made, tmp_path / "mine" / folder.card.name)
        alone = api.score(made, data=data, task=folder.card.name, partial=True).tasks
        assert [one.name for one in alone] == [folder.card.name]
    scores = api.score(tmp_path / "mine", data=data, partial=True)
    for one in scores.tasks:
        found = {(code, name): value for name, values in one.series().items() for code, value in values.items()}
        assert found.items() >= expected[one.card.name].items()
    assert [one.card.name for one in scores.tasks] == [folder.card.name for folder in FOLDERS]


def test_an_arm_and_a_seed_must_be_chosen(run: tuple[Path, Path], tmp_path: Path) -> None:
    data, store = run
    for chosen, words in (
        ({}, "several arms: none, mnli"),
        ({"arm": "none"}, "several seeds: 1, 2"),
        ({"arm": "mnly", "seed": 1}, "Did you mean 'mnli'"),
        ({"arm": "none", "seed": 3}, "unknown seed '3'"),
    ):
        with pytest.raises(UsageError, match=words):
            api.submission("whole", tmp_path / "out", data=data, store=store, **chosen)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_nothing_is_half_written(run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, store = run
    monkeypatch.setattr(Answers, "predictions", _fail)
    with pytest.raises(DataError, match="on purpose"):
        api.submission("whole", tmp_path / "out", data=data, store=store, arm="none", seed=1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UsageError, match="already exists and is not empty"):
        api.submission("whole", tmp_path / "out", data=data, store=store, arm="none", seed=1)
    assert Store(store).record("mini/pretrain") is not None


def _fail(*_: object) -> str:
    raise DataError("on purpose")


def test_a_line_format_needs_every_prediction() -> None:
    with pytest.raises(DataError, match="row 'b' has no prediction"):
        LABELS.predictions([Pair("b", "de", "x", "y", "0")], {})
