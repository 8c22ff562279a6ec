"""A few small cards with files of their own, and stage functions that compute nothing but take time and can be killed.

Also a program: `python small_world.py RECIPE DATA STORE [SECONDS]` runs a recipe with these cards and functions.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from viaduct.metrics.score import Predictions, Score
from viaduct.rows import Answer, Pair, Row, Sentence, Span
from viaduct.runs import execute
from viaduct.runs.census import Census
from viaduct.runs.gaps import require
from viaduct.runs.plan import Plan, outline
from viaduct.runs.rows import RecipeData
from viaduct.runs.spec import Intermediate, Pretrain, Recipe, Target, Training
from viaduct.runs.stage import Context, Spent, kind_of
from viaduct.tasks.card import Files, Source, Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

PAUSE = 0.0
"""Seconds per step of a fake stage; set by the program's last argument."""
STEPS = 5


def expand(asked: Recipe, counted: Census) -> Plan:
    """The plan of a recipe. Raises a DataError that lists what is missing, as a run does."""
    plan = outline(asked, counted)
    require(plan.missing, plan.recipe, counted)
    return plan


def read_pairs(files: Files, language: str, _split: str) -> Iterator[Row]:
    for line in files["rows"][0].read_text(encoding="utf-8").splitlines():
        id, first, second, label = line.split("\t")
        yield Pair(id, language, first, second, label or None)


def read_spans(files: Files, language: str, _split: str) -> Iterator[Row]:
    for line in files["rows"][0].read_text(encoding="utf-8").splitlines():
        id, context, question, answer = line.split("\t")
        yield Span(id, language, context, question, (Answer(answer, context.index(answer)),))


def read_sides(files: Files, language: str, _split: str) -> Iterator[Row]:
    for line in files["rows"][0].read_text(encoding="utf-8").splitlines():
        number, source, target = line.split("\t")
        yield Sentence(f"s{number}", language, source, "source", (f"t{number}",) if target else ())
        if target:
            yield Sentence(f"t{number}", language, target, "target", (f"s{number}",))


def read_text(files: Files, language: str, _split: str) -> Iterator[Row]:
    for index, line in enumerate(files["rows"][0].read_text(encoding="utf-8").splitlines()):
        yield Sentence(str(index), language, line, match=())


def share_right(rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
    gold = [row for row in rows if not (isinstance(row, Sentence) and row.side == "target")]
    right = sum(row.id in predictions and predictions[row.id].prediction == _gold(row) for row in gold)
    missing = sum(row.id not in predictions for row in gold)
    return (
        Score("accuracy", right / len(gold), len(gold), missing, "right|1"),
        Score("misses", missing / len(gold), len(gold), missing, "misses|1"),
    )


def _gold(row: Row) -> object:
    if isinstance(row, Pair):
        return row.label
    if isinstance(row, Span):
        return row.answers[0].text if row.answers else ""
    return row.match[0] if isinstance(row, Sentence) and row.match else None


def _card(name: str, kind: str, read: object, trained_on: str | None, languages: tuple[str, ...]) -> Task:
    scored = kind != "text"
    return Task(
        name=name,
        version=1,
        title=name.title(),
        kind=kind,
        languages=languages,
        sources=(Source("official", {"rows": f"{name}/{{split}}-{{language}}.tsv"}, read),),
        metric=share_right if scored else None,
        metrics=("accuracy", "misses") if scored else (),
        trained_on=trained_on,
        licence="made for tests",
        citation="",
        labels=("yes", "no") if kind == "pair" else (),
        expected={("en", "test"): 40} if name == "fruit" else {},
    )


CARDS = (
    _card("fruit", "pair", read_pairs, "fruit", ("en", "de", "sw")),
    _card("berry", "pair", read_pairs, "fruit", ("en", "de")),
    _card("quiz", "span", read_spans, "quiz", ("en", "de")),
    _card("twins", "retrieval", read_sides, None, ("de", "sw")),
    _card("mine", "mining", read_sides, None, ("de",)),
    _card("prose", "text", read_text, None, ("en", "de", "sw")),
)


def add_cards(set: Callable[[type, str, Any], None], cards: Iterable[Task]) -> None:
    """Add the cards to the built-in ones, replacing those of the same names; `set` is `setattr` or a monkeypatch's."""
    known = {card.name: card for card in (*Catalogue.builtin(), *cards)}
    set(Catalogue, "builtin", classmethod(lambda cls: cls(known.values())))


def census(data: Path) -> Census:
    """A census of the data folder, with the cards known at this point."""
    return Census(RecipeData(DataFolder(data, Catalogue.builtin())))


def write_data(folder: Path, *, languages: Sequence[str] = ("en", "de", "sw")) -> Path:
    """Write all files of all cards in these languages."""
    for card in CARDS:
        for split in ("train", "dev", "test"):
            for language in card.languages:
                if language in languages:
                    path = folder / card.name / f"{split}-{language}.tsv"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text("".join(_lines(card, split, language)), encoding="utf-8")
    return folder


def _lines(card: Task, split: str, language: str) -> Iterator[str]:
    for number in range(40):
        if card.kind == "pair":
            yield f"{number}\t{language} {split} {number // 2}\tsecond {number}\t{'yes' if number % 3 else 'no'}\n"
        elif card.kind == "span":
            yield f"{number}\t{language} context {number // 4} of {split}\twhich?\tcontext {number // 4}\n"
        elif card.kind == "text":
            yield f"{language} line {number}\n"
        else:
            yield f"{number}\t{language} {number}\t{'' if number % 5 == 0 else f'english {number}'}\n"


def recipe(**changes: object) -> Recipe:
    """A recipe with two arms, three targets that share what they can, and two seeds."""
    fields: dict[str, object] = {
        "name": "small",
        "hypothesis": "quiz helps fruit",
        "encoder": Pretrain(name="mini", text=("prose",)),
        "intermediates": (Intermediate(name="none"), Intermediate(name="quiz", tasks=("quiz",))),
        "targets": (Target(task="fruit"), Target(task="berry"), Target(task="twins")),
        "seeds": (1, 2),
        "measure": None,
    }
    return Recipe(**{**fields, **changes})


TRAINING = Training(epochs=1.0)


def run(context: Context) -> Spent:
    """A stage that hashes its way through `STEPS` steps, with a checkpoint after each; always writes the same bytes."""
    checkpoint = context.scratch / "state.json"
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "digest": _start(context)}
    while state["step"] < STEPS:
        time.sleep(PAUSE)
        state = {"step": state["step"] + 1, "digest": hashlib.sha256(state["digest"].encode()).hexdigest()}
        temporary = checkpoint.with_suffix(".tmp")
        temporary.write_text(json.dumps(state))
        temporary.replace(checkpoint)
        context.progress(state["step"], STEPS, f"step {state['step']}")
    work = context.work
    if work.kind == "predict":
        for language in work.languages:
            _predict(context, language, state["digest"])
    else:
        (context.directory / "encoder").mkdir()
        (context.directory / "encoder" / "config.json").write_text('{"hidden_size": 8}')
        (context.directory / "encoder" / "weights").write_text(state["digest"])
    log = os.environ.get("SMALL_WORLD_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {context.directory.parent.name}\n")
    return Spent(tokens=100, padding_fraction=0.1, flops=1e6, examples=1)


def _start(context: Context) -> str:
    parts = [context.work.model_dump_json()]
    if context.encoder is not None:
        parts.append((Path(context.encoder) / "weights").read_text())
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _predict(context: Context, language: str, digest: str) -> None:
    rows = context.load(context.work.task, context.work.split, language).rows
    path = context.directory / "predictions" / f"{language}.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            if isinstance(row, Sentence) and row.side == "target":
                continue
            wrong = "no" if not isinstance(row, Sentence) else "t2" if _gold(row) == "t1" else "t1"
            guess = (_gold(row) if int(digest[number % 60], 16) > 4 else None) or wrong
            line = {"id": row.id, "language": language, "prediction": guess, "scores": [0.5]}
            file.write(json.dumps(line) + "\n")


FAKES = ("pretrain", "train", "predict")
"""Kinds of stages that `run` stands in for."""


def write_no_report(about: object, rows: object, costs: object, directory: Path, **others: object) -> Path:
    """Stands in for the report, which is not what these tests are about."""
    return directory / "report.html"


def main() -> None:
    """Run a recipe in this process with the fake stages."""
    from rich.console import Console

    from viaduct import api
    from viaduct.report import page

    recipe_file, data, store, pause = sys.argv[1:]
    global PAUSE
    PAUSE = float(pause)
    add_cards(setattr, CARDS)
    for kind in FAKES:
        kind_of(kind).run = lambda context, _work: run(context)
    page.write = write_no_report
    processes = int(os.environ.get("SMALL_WORLD_PROCESSES", "1"))
    options = execute.Options(device="cpu", threads=1, processes=processes, poll_seconds=0.05)
    loaded = Recipe.model_validate_json(Path(recipe_file).read_text())
    console = Console(stderr=True, force_terminal=False)
    api.run(loaded, data=Path(data), store=Path(store), options=options, command="small", console=console)


if __name__ == "__main__":
    main()
