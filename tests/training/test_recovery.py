"""A run that is killed again and again ends with the same bytes as one that is left alone: real processes, SIGKILL."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import tiny
from preloaded import Child, Preloaded

LANGUAGES = {"en": "eng", "de": "deu", "th": "tha"}
LABELS = ("contradiction", "entailment", "neutral")
VARIES = {"cost.json"}
"""Seconds, memory and the date are in it; everything else must be equal."""

RECIPE = """
from viaduct.runs.spec import Architecture, Intermediate, Pretrain, Recipe, Target, Training

PAIRS = Training(learning_rate=1e-3, epochs=2.0, batch_tokens=96, max_length=32, evaluations=5, dev_rows=50)


def recipe():
    return Recipe(
        name="tiny",
        hypothesis="a killed run ends as one that is left alone",
        encoder=Pretrain(
            name="mini",
            architecture=Architecture(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary=400, max_length=64),
            parallel=("ntrex",),
            training=Training(learning_rate=1e-3, max_steps=STEPS, epochs=1e4, batch_tokens=256, max_length=64),
        ),
        intermediates=(Intermediate(name="none"), Intermediate(name="mnli", tasks=("mnli",), training=PAIRS)),
        targets=(Target(task="xnli", training=PAIRS, languages="available"),),
        measure=None,  # no two measurements are equal
    )
"""


def write_data(folder: Path) -> None:
    """Text, parallel text, MultiNLI and XNLI in their official layouts, a few hundred made-up rows."""
    drawn = random.Random(1)
    files: dict[str, list[str]] = {}
    for language, iso3 in LANGUAGES.items():
        files[f"text/{language}.txt.gz"] = tiny.sentences(language) * 10
        side = "src" if language == "en" else "ref"
        files[f"NTREX-128/newstest2019-{side}.{iso3}.txt"] = tiny.sentences(language) * 3
    for split, count in (("train", 240), ("dev_matched", 60)):
        files[f"multinli_1.0/multinli_1.0_{split}.jsonl"] = [
            json.dumps({"gold_label": label, "sentence1": first, "sentence2": second})
            for label, first, second in (_pair(drawn, "en", number) for number in range(count))
        ]
    header = "language\tgold_label\tsentence1\tsentence2\tpairID"
    for split in ("dev", "test"):
        rows = [(language, number, *_pair(drawn, language, number)) for language in LANGUAGES for number in range(40)]
        lines = [f"{language}\t{label}\t{first}\t{second}\t{number}" for language, number, label, first, second in rows]
        files[f"XNLI-1.0/xnli.{split}.tsv"] = [header, *lines]
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _pair(drawn: random.Random, language: str, number: int) -> tuple[str, str, str]:
    words = tiny.LANGUAGES[language]
    first = [drawn.choice(words) for _ in range(drawn.randint(2, 6))]
    second = {"contradiction": words[11], "entailment": first[0], "neutral": words[5]}
    label = LABELS[number % 3]
    return label, " ".join(first), f"{second[label]} {drawn.choice(words)}"


class World:
    """Data and recipe, and how to run it into a store."""

    def __init__(self, folder: Path, steps: int, preloaded: Preloaded) -> None:
        self.folder, self.preloaded = folder, preloaded
        write_data(folder / "data")
        (folder / "tiny.py").write_text(RECIPE.replace("STEPS", str(steps)), encoding="utf-8")

    def start(self, store: str, log: Path) -> Child:
        """A process at work on the recipe; what it says goes to `log`."""
        command = ["run", self.folder / "tiny.py", "--device", "cpu", "--threads", "1", "--checkpoint-seconds", "0.1"]
        command += ["--data", self.folder / "data", "--store", self.folder / store]
        return self.preloaded.viaduct(command, log)

    def results(self, store: str) -> dict[str, bytes]:
        """Every file of every finished stage that does not depend on the clock."""
        root = self.folder / store
        stages = [path.parent for path in root.rglob("stage.json")]
        files = [path for stage in stages for path in stage.rglob("*") if path.is_file() and path.name not in VARIES]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def spent(self, store: str) -> dict[str, tuple[object, ...]]:
        """What every stage says it used, without time and memory."""
        root = self.folder / store
        costs = {path: json.loads(path.read_text()) for path in root.rglob("cost.json")}
        return {
            str(path.parent.relative_to(root)): tuple(cost[name] for name in ("tokens", "flops", "padding_fraction"))
            for path, cost in costs.items()
        }


def seen(root: Path) -> set[str]:
    """What lies below the store now; it may change while it is looked at."""
    return {f"{folder}/{name}" for folder, folders, names in os.walk(root) for name in (*folders, *names)}


def wait_for_work(process: Child, root: Path, changes: int) -> None:
    """Return when the store has changed this often (a file, a checkpoint, a folder), or the process has ended."""
    before = seen(root)
    while changes and process.poll() is None:
        time.sleep(0.005)
        now = seen(root)
        changes -= now != before
        before = now


def killed_until_done(world: World, store: str, moments: random.Random, *, kills: int, most: int) -> int:
    """Run, kill at a random moment of the work, run again, the last time to the end. How many were killed."""
    killed = 0
    for attempt in range(kills + 1):
        log = world.folder / f"{store}-{attempt}.log"
        process = world.start(store, log)
        if attempt < kills:
            wait_for_work(process, world.folder / store, moments.randint(8, most))
            time.sleep(moments.uniform(0.0, 0.05))
            process.kill()
        status = process.wait(timeout=200)
        assert status in (0, -signal.SIGKILL), log.read_text(encoding="utf-8")
        if status == 0:
            break
        killed += 1
    return killed


def check(preloaded: Preloaded, tmp_path: Path, *, steps: int, kills: int, most: int, seed: int) -> None:
    world = World(tmp_path, steps, preloaded)
    log = tmp_path / "whole.log"
    assert world.start("whole", log).wait(timeout=200) == 0, log.read_text(encoding="utf-8")
    assert killed_until_done(world, "parts", random.Random(seed), kills=kills, most=most) > 1
    whole, parts = world.results("whole"), world.results("parts")
    names = {Path(name).name for name in whole}
    assert {"model.safetensors", "head.safetensors", "training.json", "th.jsonl", "scores.json", "stage.json"} <= names
    assert whole.keys() == parts.keys()
    different = [name for name in whole if whole[name] != parts[name]]
    assert not different
    assert world.spent("whole") == world.spent("parts")
    assert not list((tmp_path / "parts").rglob("*.partial"))


def test_a_run_killed_a_few_times_ends_with_the_same_bytes(preloaded: Preloaded, tmp_path: Path) -> None:
    check(preloaded, tmp_path, steps=60, kills=2, most=40, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_run_killed_many_times_ends_with_the_same_bytes(preloaded: Preloaded, tmp_path: Path, seed: int) -> None:
    check(preloaded, tmp_path, steps=400, kills=12, most=60, seed=seed)
