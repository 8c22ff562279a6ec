"""What scripts rely on: `--json` prints one document with the keys of docs/command_line.md, and how commands end."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
from json_keys import PAGE, require_documented
from programs import Done, viaduct
from small_world import recipe

from viaduct import api
from viaduct.command import as_json
from viaduct.models.encoder import save_encoder
from viaduct.runs import doctor
from viaduct.runs.doctor import Tried
from viaduct.runs.spec import Target


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def document(done: Done, status: int = 0) -> Any:
    """Parse standard output, which must be one strict JSON document in ASCII."""
    assert done.status == status and done.output.isascii(), done.errors
    return json.loads(done.output, parse_constant=refused)


def write_recipe(world: Path, **changes: object) -> str:
    path = world / "small.yaml"
    path.write_text(recipe(**changes).model_dump_json(exclude_defaults=True), encoding="utf-8")
    return str(path)


@pytest.fixture
def places(world: Path) -> list[str]:
    """Options for a command that reads data and a store."""
    return ["--data", str(world), "--store", str(world / "store")]


def test_a_run_is_told_before_and_after_it(world: Path, places: list[str], tmp_path: Path) -> None:
    words = tiny.tokenizer()
    save_encoder(tiny.encoder(words), words, tmp_path / "tiny")
    started = document(viaduct("plan", write_recipe(world, encoder=str(tmp_path / "tiny")), *places, "--json"))
    told = started["plans"][0]["unknown_pieces"]
    assert set(told) == {"en", "de", "sw"} and all(0 <= share <= 1 for share in told.values())

    file = write_recipe(world, targets=(Target(task="fruit"), Target(task="twins")), seeds=(1,))
    (world / "fruit" / "test-en.tsv").rename(world / "kept")
    (world / "twins" / "test-de.tsv").rename(world / "kept too")
    lacking = viaduct("plan", file, *places, "--json")
    gaps = document(lacking, status=1)["plans"][0]
    assert "needs data that is missing" in lacking.errors
    assert {(one["what"], one["language"]) for one in gaps["missing"]} == {("fruit test", "en"), ("twins test", "de")}
    assert gaps["forecast"]["rows_guessed"] == {"fruit test": 40, "twins test": None}
    (absent,) = [one for one in gaps["data"] if (one["task"], one["split"], one["language"]) == ("fruit", "test", "en")]
    assert (absent["layout"], absent["rows"], absent["rows_published"]) == (None, None, 40)

    (world / "kept").rename(world / "fruit" / "test-en.tsv")
    (world / "kept too").rename(world / "twins" / "test-de.tsv")
    ran = viaduct("run", file, *places, "--device", "cpu", "--threads", "1")
    assert ran.status == 0, ran.errors
    finished = document(viaduct("plan", file, *places, "--json"))
    require_documented("plan", started, {"plans": [gaps]}, finished)
    whole, text = finished["plans"][0], viaduct("plan", file, *places).output
    assert f"recipe small: {whole['hypothesis']}" in text and "0 to do" in text
    assert {one["state"] for one in whole["stages"]} == {"done"} and whole["forecast"]["tokens"] == 0
    assert f"{len(whole['stages'])} stages ({whole['stages_if_not_shared'] - len(whole['stages'])} saved" in text
    assert f"need about {whole['disk']['need_bytes']['all'] / 1e9:.1f} GB" in text

    state = document(viaduct("status", "small", *places[2:], "--json"))
    require_documented("status", state)
    (run,) = state["runs"]
    assert {one["path"]: one["seconds"] for one in run["stages"]} == {
        one["path"]: one["seconds"] for one in whole["stages"]
    }
    assert run["report"] == {"stages_alike": len(run["stages"]), "stages_foreign": 0, "stages_later": 0}
    for stage in (world / "store").glob("mini/none/fruit/seed-1/score"):
        stage.rename(world / "score")
    (world / "store" / "runs" / "small" / "report.json").unlink()
    (run,) = document(viaduct("status", "small", *places[2:], "--json"))["runs"]
    assert run["report"] is None
    assert [one["seconds"] for one in run["stages"] if one["state"] == "waiting"] == [None]


def test_cards_and_data_are_told(tmp_path: Path) -> None:
    every = document(viaduct("tasks", "--json"))
    require_documented("tasks", every)
    assert document(viaduct("tasks", "xnli", "--json"))["tasks"] == [
        one for one in every["tasks"] if one["name"] == "xnli"
    ]

    coco, bucc = tmp_path / "coco" / "annotations", tmp_path / "bucc2018"
    for folder in (coco, bucc, tmp_path / "panx", tmp_path / "coco" / "train2017"):
        folder.mkdir(parents=True)
    captions = {
        "info": {"origin": "people"},
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "caption": "Ein heißer Tee."}],
    }
    (coco / "captions_train2017.json").write_text(json.dumps(captions), encoding="utf-8")
    for side in ("de", "en"):
        (bucc / f"de-en.dev.{side}").write_text(f"{side}-1\tTee\n", encoding="utf-8")
    (bucc / "de-en.dev.gold").write_text("de-1\ten-1\n", encoding="utf-8")
    for name, text in {"train-en": "Tea\tO\n\n", "dev-en": "Tea\tO\n\n", "test-sw": "Chai\tNOUN\n\n"}.items():
        (tmp_path / "panx" / f"{name}.tsv").write_text(text, encoding="utf-8")
    mapping = "{name: mine, kind: text, languages: [en], columns: {text: said, language: code}, path: '{split}.jsonl'}"
    (tmp_path / "mine.yaml").write_text(mapping, encoding="utf-8")
    (tmp_path / "train.jsonl").write_text(
        '{"said": "Tea.", "code": "en"}\n{"said": "Chai.", "code": "sw"}\n', encoding="utf-8"
    )
    mine = document(viaduct("check", str(tmp_path / "mine.yaml"), "--data", str(tmp_path), "--json"))
    assert "sw 1" in mine["tasks"][0]["left_out"][0]
    found = document(viaduct("check", "--data", str(tmp_path), "--json"), status=1)
    require_documented("check", found, mine)
    by_name = {one["task"]: one for one in found["tasks"]}
    held = {(one["split"], one["language"]): one for one in by_name["panx"]["holdings"]}
    assert held["dev", "en"]["labels"] == {"O": 1.0} and held["dev", "en"]["overlap"] == 1
    assert held["train", "en"]["overlap"] is None and held["train", "en"]["trained_on"] is None
    assert "test-sw.tsv" in by_name["panx"]["damaged"][0] and by_name["xnli"]["example"] is None
    assert by_name["bucc"]["holdings"][0]["pairs"] == 1
    (image,) = by_name["coco"]["holdings"]
    assert image["inspection"]["state"] == {"no image": 0, "not on disk": 1}
    assert by_name["coco"]["example"]["captions"] == ["Ein heißer Tee."]


def test_scores_are_told_as_fractions(tmp_path: Path) -> None:
    for folder, answers in {"mine": "neutral\nnothing\n", "gold": "neutral\nentailment\n"}.items():
        (tmp_path / folder / "xnli").mkdir(parents=True)
        for language in ("de", "en"):
            (tmp_path / folder / "xnli" / f"test-{language}.tsv").write_text(answers, encoding="utf-8")
    asked = ["score", str(tmp_path / "mine"), "--gold", str(tmp_path / "gold")]
    told = document(viaduct(*asked, "--partial", "--json"))
    assert told["differences"] == [] and "nothing" in told["notes"][0]
    (found,) = told["systems"]
    accuracy = found["tasks"]["xnli"]["accuracy"]
    assert accuracy["languages"]["de"]["value"] == accuracy["mean_including_english"] == 0.5
    assert accuracy["transfer_gap"] == 0.0 and "ar" in accuracy["languages_missing"]
    assert (
        found["averages"]["all_task"]["value"] is None and "pawsx" in found["averages"]["all_task"]["languages_missing"]
    )
    low, high = accuracy["languages"]["de"]["value_95"]
    assert f"50.00  {100 * low:.1f}-{100 * high:.1f}" in viaduct(*asked, "--partial").output


def test_a_machine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {
        "devices": [{"name": "A", "memory_bytes": 2**34}],
        "bf16": True,
        "cpu_bf16": False,
        "cuda": "12",
        "threads": 8,
    }
    said = {doctor.TORCH: Tried(True, json.dumps(gpu)), doctor.TRANSFORMERS: Tried(True, "")}
    monkeypatch.setattr(doctor, "_try", lambda code: said.get(code, Tried(False, "broken")))
    found = document(viaduct("doctor", "--store", str(tmp_path), "--json"), status=1)
    require_documented("doctor", found)
    facts = {one["subject"]: one["facts"] for one in found["findings"]}
    assert facts["device 0"] == {"name": "A", "memory_bytes": 2**34, "bfloat16": True}
    assert facts["cores"]["torch_threads"] == 8 and facts["disk"]["free_bytes"] > 0
    (fault,) = [one for one in found["findings"] if one["state"] == "broken"]
    assert fault["subject"] == "torchvision" and "pip uninstall" in fault["fix"]


@pytest.mark.parametrize(
    "arguments",
    [
        "plan nothing.yaml",
        "status nothing",
        "tasks xnly",
        "check xnly",
        "score nothing",
        "compare a b",
        "profile ./nothing",
        "doctor -x",
    ],
)
def test_after_a_mistake_standard_output_is_empty(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    done = viaduct(*arguments.split(), "--json")
    assert (done.status, done.output) == (2, "") and ("viaduct: " in done.errors or "Usage: " in done.errors)


def test_what_is_no_number_is_null() -> None:
    told = as_json(low=-math.inf, high=math.nan, folder=Path("a/b"), name="Tör", nothing=None)
    assert json.loads(told, parse_constant=refused) == {
        "low": None, "high": None, "folder": "a/b", "name": "Tör", "nothing": None,
    }  # fmt: skip
    assert told.isascii()


def test_a_fault_of_our_own_is_no_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(api, "tasks", fail)
    done = viaduct("tasks", "--json")
    assert (done.status, done.output) == (70, "") and done.errors.startswith("Traceback")


STOPPED = """
import os, signal
from viaduct import api, cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
api.tasks = lambda name: os.kill(os.getpid(), signal.{})
cli.main()
"""


@pytest.mark.parametrize(("sent", "status"), [("SIGINT", 130), ("SIGTERM", -signal.SIGTERM)])
def test_any_command_can_be_stopped(sent: str, status: int) -> None:
    """A shell reports status 143 for a process ended by SIGTERM."""
    command = [sys.executable, "-c", STOPPED.format(sent), "tasks"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, "") and "Traceback" not in done.stderr


def test_statuses_are_in_the_help_and_on_the_page() -> None:
    shown = " ".join(viaduct("--help").output.split())
    for status in ("0", "1", "2", "70", "130"):
        assert f" {status} " in shown.partition("Exit status:")[2] and f"\n| {status}" in PAGE
