"""A compressed encoder gives what the original gives, as far as possible; other engines predict what torch predicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModel, AutoTokenizer

from viaduct.inference.predict import PredictWork
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.field import make_work
from viaduct.runs.spec import Retrieval
from viaduct.runs.stage import Context
from viaduct.serving.compress import CompressWork
from viaduct.training.train import TrainWork

PAIRS = tiny.CARDS["pair"]
TWINS = tiny.card("retrieval", name="tiny-retrieval")


def prose(code: str, texts: list[str]) -> list[Row]:
    return [Sentence(str(at), code, text) for at, text in enumerate(texts)]


def compressed(encoder: Path, folder: Path, texts: dict[str, list[str]], **asked: Any) -> Path:
    """Runs a Compress stage and returns its folder."""
    parts = {("text", "train", code): prose(code, lines) for code, lines in texts.items()}
    work = CompressWork(vocabulary=tuple(texts), text=("text",) if texts else (), **asked)
    context = tiny.context(work, folder, parts, encoder=encoder)
    tiny.run(context)
    return context.directory


def predicted(encoder: Path, folder: Path) -> bytes:
    """The predictions of an encoder after training on pairs."""
    parts: dict[tuple[str, str, str], list[Row]] = {
        (PAIRS.name, "train", "en"): tiny.rows("pair", 40),
        (PAIRS.name, "dev", "en"): tiny.rows("pair", 12, offset=40),
        (PAIRS.name, "test", "en"): tiny.rows("pair", 30, offset=60),
    }
    training = TrainWork(task=PAIRS.name, training=tiny.training(), seed=1)
    learned = tiny.context(training, folder / "train", parts, encoder=encoder)
    tiny.run(learned)
    work = PredictWork(task=PAIRS.name, languages=("en",), split="test", max_length=64, stride=8)
    done = tiny.context(work, folder / "predict", parts, encoder=learned.directory / "encoder")
    tiny.run(done)
    return (done.directory / "predictions" / "en.jsonl").read_bytes()


def test_what_is_trained_with_a_part_of_the_vocabulary_predicts_the_same(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [row for row in tiny.rows("pair", 90) if isinstance(row, Pair)]
    texts = {"en": [text for row in rows for text in (row.first, row.second)], "de": tiny.sentences("de")}
    made = compressed(tiny_encoder, tmp_path / "part", texts)
    about = json.loads((made / "compression.json").read_text())["vocabulary"]
    assert about["pieces"] < about["of"] and about["lines"] == {"en": 180, "de": 12}
    assert len(AutoTokenizer.from_pretrained(made / "encoder")) == about["pieces"]
    opened = AutoModel.from_pretrained(made / "encoder")
    assert opened.config.vocab_size == opened.get_input_embeddings().num_embeddings == about["pieces"]
    assert predicted(made / "encoder", tmp_path / "a") == predicted(tiny_encoder, tmp_path / "b")


def test_the_lowest_layers_give_what_they_gave(tiny_encoder: Path, tmp_path: Path) -> None:
    made = compressed(tiny_encoder, tmp_path / "cut", {}, layers=1)
    ids_BL = torch.arange(5, 13).view(2, 4)
    whole = AutoModel.from_pretrained(tiny_encoder).eval()(ids_BL, output_hidden_states=True)
    cut = AutoModel.from_pretrained(made / "encoder").eval()(ids_BL)
    assert torch.equal(cut.last_hidden_state, whole.hidden_states[1])
    assert json.loads((made / "compression.json").read_text()) == {"layers_before": 2, "layers": 1, "vocabulary": None}


def lines_of(context: Context, language: str) -> list[Any]:
    tiny.run(context)
    text = (context.directory / "predictions" / f"{language}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


Predict = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def predict_by(trained_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Predict:
    """A function that returns what a stage with these work settings predicts; equal settings run once."""
    parts = {
        (PAIRS.name, "test", "en"): tiny.rows("pair", 40, offset=150),
        ("text", "train", "de"): prose("de", tiny.sentences("de")),
    }

    @cache
    def by(**settings: Any) -> list[Any]:
        where = {"task": PAIRS.name, "languages": ("en",), "split": "test", "max_length": 64, "stride": 8}
        work = make_work("predict", **where, **settings)
        folder = tmp_path_factory.mktemp("predicted")
        return lines_of(tiny.context(work, folder, parts, encoder=trained_pairs / "encoder"), "en")

    return by


@pytest.mark.parametrize(
    ("engine", "precision"), [("torch", "bf16"), ("torch", "int8"), ("onnx", "int8"), ("openvino", "int8")]
)
def test_other_engines_predict_nearly_the_same(engine: str, precision: str, predict_by: Predict) -> None:
    if engine != "torch":
        pytest.importorskip("onnxruntime" if engine == "onnx" else "nncf", reason="needs the extra engines")
    calibration = (("text", "de"),) if engine == "openvino" else ()
    whole, reduced = predict_by(), predict_by(engine=engine, precision=precision, calibration=calibration)
    same = sum(one["prediction"] == other["prediction"] for one, other in zip(whole, reduced, strict=True))
    assert same >= 0.9 * len(whole)
    assert [line["scores"] for line in whole] != [line["scores"] for line in reduced]


@pytest.mark.parametrize(("engine", "layer"), [("torch", 1), ("openvino", 1)])
def test_another_engine_finds_the_same_sentences(engine: str, layer: int, tiny_encoder: Path, tmp_path: Path) -> None:
    if engine != "torch":
        pytest.importorskip(engine, reason="needs the extra engines")
    rows: list[Row] = []
    for at, (german, english) in enumerate(zip(tiny.sentences("de"), tiny.sentences("en"), strict=True)):
        rows.append(Sentence(f"s{at}", "de", german, "source", (f"t{at}",)))
        rows.append(Sentence(f"t{at}", "de", english, "target", (f"s{at}",)))
    parts = {(TWINS.name, "test", "de"): rows}

    def by(name: str, **settings: Any) -> list[Any]:
        how = Retrieval(layers=(layer,))
        where = {"task": TWINS.name, "languages": ("de",), "split": "test", "max_length": 64, "stride": 8}
        work = make_work("predict", retrieval=how, **where, **settings)
        return lines_of(tiny.context(work, tmp_path / name, parts, encoder=tiny_encoder, cards=(TWINS,)), "de")

    whole, other = by("whole"), by("other", engine=engine, precision="bf16" if engine == "torch" else "fp32")
    same = sum(one["prediction"] == two["prediction"] for one, two in zip(whole, other, strict=True))
    assert len(whole) == 24 and same >= (20 if engine == "torch" else 24)
