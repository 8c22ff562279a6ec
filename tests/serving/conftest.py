"""A trained stage, small enough to make in a test session, and its exports; each is made once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from viaduct.rows import Row
from viaduct.serving.export import ExportSettings, export
from viaduct.training.train import TrainWork

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # before a test imports OpenVINO by itself: each
# conversion would otherwise report itself over the network, from some ten forks of the tests' process


@pytest.fixture(scope="session")
def trained_pairs(tiny_encoder: Path, made_once: Any) -> Path:
    """The folder of a stage trained on `tiny.rows("pair")`, with its history and a score next to it, as in a store."""
    return made_once("trained", lambda folder: train_pairs(folder, tiny_encoder)) / PLACE / "train"


PLACE = Path("tiny", "none", tiny.CARDS["pair"].name, "seed-1")


def train_pairs(folder: Path, encoder: Path) -> None:
    card = tiny.CARDS["pair"]
    work = TrainWork(task=card.name, training=tiny.training(learning_rate=3e-3, epochs=12.0, batch_tokens=256), seed=1)
    parts: dict[tuple[str, str, str], list[Row]] = {
        (card.name, "train", "en"): tiny.rows("pair", 120),
        (card.name, "dev", "en"): tiny.rows("pair", 24, offset=120),
    }
    context = tiny.context(work, folder / "made", parts, encoder=encoder)
    tiny.run(context)
    place = folder / PLACE
    place.mkdir(parents=True)
    context.directory.rename(place / "train")
    spec = {"task": card.name, "split": "test", "substitutions": []}
    stage(place / "train", "trained", "train", work.model_dump(mode="json"), {})
    stage(place / "predict", "predicted", "predict", spec, {"encoder": "trained"})
    stage(place / "score", "scored", "score", spec, {"predictions": "predicted"})
    score = {"language": "en", "metric": "accuracy", "value": 0.875, "n": 24, "n_missing": 0, "signature": "right|1"}
    (place / "score" / "scores.json").write_text(json.dumps([score]))


def stage(folder: Path, fingerprint: str, kind: str, work: dict[str, object], inputs: dict[str, str]) -> None:
    """Writes the record of a finished stage."""
    folder.mkdir(exist_ok=True)
    path = "/".join(folder.parts[-5:])
    identity = {"kind": kind, "work": work, "inputs": inputs, "encoder": {"config.json": "0" * 64}}
    (folder / "stage.json").write_text(json.dumps({"fingerprint": fingerprint, "identity": identity, "path": path}))


@pytest.fixture(scope="session")
def text_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with plain text in eight languages."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").mkdir()
    for code in tiny.LANGUAGES:
        lines = "".join(f"{text}\n" for text in tiny.sentences(code))
        (folder / "text" / f"{code}.txt.gz").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def engines_installed() -> None:
    """Skips the test if the extra with the engines is not installed."""
    for name in ("onnxruntime", "onnxscript", "openvino", "nncf"):
        pytest.importorskip(name, reason="needs the extra: pip install 'viaduct-nlp[engines]'")


Exported = Callable[[str, str], tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="session")
def exported(engines_installed: None, trained_pairs: Path, text_data: Path, made_once: Any) -> Exported:
    """(engine, precision) -> the folder that `trained_pairs` was exported to, and the contents of its export.json."""

    def made(engine: str, precision: str) -> tuple[Path, dict[str, Any]]:
        settings = ExportSettings(engine, precision)
        name = f"exported-{engine}-{precision}"
        place: Path = made_once(name, lambda folder: export(trained_pairs, folder, settings, text_data))
        return place, json.loads((place / "export.json").read_text(encoding="utf-8"))

    return made
