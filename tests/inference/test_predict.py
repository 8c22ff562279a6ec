from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Limits, encode
from viaduct.heads.head import HeadSpec, TaskModel, build_head, head_spec, save_head
from viaduct.heads.pair import encode_pairs
from viaduct.inference import prediction
from viaduct.inference.embed import Embedding, embed
from viaduct.inference.predict import PredictWork
from viaduct.models.encoder import load_encoder
from viaduct.models.numerics import products_in
from viaduct.rows import Pair, Row, Tagged
from viaduct.runs.identity import literals
from viaduct.runs.stage import Context, kind_of
from viaduct.tasks.card import Task


@pytest.fixture
def trained(tiny_encoder: Path, tmp_path: Path) -> Path:
    """Stand-in for finished training stages: per kind, a folder of its name with an encoder and a head."""
    for kind, card in tiny.CARDS.items():
        folder = tmp_path / "trained" / kind
        folder.mkdir(parents=True)
        (folder / "encoder").symlink_to(tiny_encoder)
        torch.manual_seed(7)
        save_head(build_head(head_spec(card), 32, 0.1, initial_range=0.5), head_spec(card), folder)
    return tmp_path / "trained"


def stage(
    kind: str,
    trained: Path,
    folder: Path,
    rows: dict[str, list[Row]],
    max_length: int = 64,
    cards: tuple[Task, ...] = (),
) -> Context:
    name = tiny.CARDS[kind].name
    work = PredictWork(
        task=name,
        languages=tuple(rows),
        split="test",
        max_length=max_length,
        stride=8,
    )
    parts = {(name, "test", language): part for language, part in rows.items()}
    return tiny.context(work, folder, parts, encoder=trained / kind / "encoder", cards=cards)


def lines_of(context: Context, language: str) -> list[dict[str, Any]]:
    text = (context.directory / "predictions" / f"{language}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def in_german(rows: list[Row]) -> list[Row]:
    return [replace(row, language="de") for row in rows]


def test_the_card_that_is_predicted_says_whether_there_may_be_no_answer(trained: Path, tmp_path: Path) -> None:
    rows: dict[str, list[Row]] = {"en": tiny.rows("span", 3)}
    tiny.run(answered := stage("span", trained, tmp_path / "a", rows))
    card = replace(tiny.CARDS["span"], unanswerable=True)
    tiny.run(open_ended := stage("span", trained, tmp_path / "b", rows, cards=(card,)))
    assert [len(line["scores"]) for line in lines_of(answered, "en")] == [1, 1, 1]
    for line in lines_of(open_ended, "en"):
        best, none = line["scores"]
        assert (line["prediction"] == "") == (none > best)


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_every_row_of_every_language_is_predicted_in_order(kind: str, trained: Path, tmp_path: Path) -> None:
    rows = {"en": tiny.rows(kind, 7), "de": in_german(tiny.rows(kind, 9, offset=3))}
    context = stage(kind, trained, tmp_path, rows)
    spent = tiny.run(context)
    assert spent.examples == 16
    for language, part in rows.items():
        found = lines_of(context, language)
        assert [(one["id"], one["language"]) for one in found] == [(row.id, language) for row in part]
        for one, row in zip(found, part, strict=True):
            if kind == "pair":
                assert one["prediction"] == ("no", "yes")[int(np.argmax(one["scores"]))]
            elif kind == "choice":
                assert one["prediction"] == int(np.argmax(one["scores"]))
                assert len(one["scores"]) == len(row.choices)
            elif kind == "tagged":
                assert len(one["prediction"]) == len(row.tokens)
                assert set(one["prediction"]) <= set(tiny.CARDS["tagged"].labels)
            else:
                assert one["prediction"] in row.context
                assert one["prediction"] == one["prediction"].strip()


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_labels_in_the_rows_change_no_prediction(kind: str, trained: Path, tmp_path: Path) -> None:
    rows = tiny.rows(kind, 7)
    field = {"pair": "label", "choice": "label", "tagged": "tags", "span": "answers"}[kind]
    contexts = [
        stage(kind, trained, tmp_path / "labelled", {"en": rows}),
        stage(kind, trained, tmp_path / "bare", {"en": [replace(row, **{field: None}) for row in rows]}),
    ]
    for context in contexts:
        tiny.run(context)
    assert lines_of(contexts[0], "en") == lines_of(contexts[1], "en")


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_a_prediction_does_not_depend_on_its_batch(
    kind: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.rows(kind, 12)
    found = []
    for tokens in (1, 10_000):
        monkeypatch.setattr(prediction, "PREDICTION_TOKENS", tokens)
        context = stage(kind, trained, tmp_path / str(tokens), {"en": rows})
        tiny.run(context)
        found.append(lines_of(context, "en"))
    for one, other in zip(*found, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one.get("scores", []) == pytest.approx(other.get("scores", []), abs=1e-4)


def test_ids_and_words_of_any_script_are_written_as_they_are(trained: Path, tmp_path: Path) -> None:
    rows: list[Row] = [
        Pair("наука-①", "en", "石头", "🪨 und \u2028 Zeile", None),
        Pair('quote"\\', "en", "", "", None),
    ]
    context = stage("pair", trained, tmp_path, {"en": rows})
    tiny.run(context)
    assert [one["id"] for one in lines_of(context, "en")] == ["наука-①", 'quote"\\']
    assert "наука-①" in (context.directory / "predictions" / "en.jsonl").read_text(encoding="utf-8")


def test_a_language_of_one_row(trained: Path, tmp_path: Path) -> None:
    context = stage(
        "tagged", trained, tmp_path, {"en": tiny.rows("tagged", 1), "de": in_german(tiny.rows("tagged", 5))}
    )
    tiny.run(context)
    assert len(lines_of(context, "en")) == 1


def test_a_row_in_another_languages_file_stops_the_stage(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row p0 of de says it is en"):
        tiny.run(stage("pair", trained, tmp_path, {"de": tiny.rows("pair", 2)}))


class EchoTagger(nn.Module):
    """Stand-in for a model: the logit of tag k is highest where the token's id is k modulo the number of tags."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.tags = tags
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> torch.Tensor:
        return torch.nn.functional.one_hot(batch.ids_BL % self.tags, self.tags).float()


@pytest.mark.parametrize("max_length", [8, 12, 64])
def test_tags_of_a_split_sentence_are_put_together_again(tiny_tokenizer: Any, max_length: int) -> None:
    words = [word for at in range(12) for word in (tiny.LANGUAGES["en"][at], "", "日本", tiny.LANGUAGES["hi"][at])]
    rows: list[Row] = [
        Tagged("long", "en", tuple(words), None),
        Tagged("empty", "en", (), None),
        Tagged("one", "en", ("boat",), None),
    ]
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(max_length))
    assert (len(encoded) > 3) == (max_length < 64)
    labels = ("A", "B", "C", "D", "E")
    found = prediction.predict_all(EchoTagger(5), HeadSpec("tagged", labels), rows, encoded, 1)
    for row, one in zip(rows, found, strict=True):
        expected = []
        for word in row.tokens:
            pieces = tiny_tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"]
            expected.append(labels[(pieces or [tiny_tokenizer.unk_token_id])[0] % 5])
        assert (one.id, one.prediction) == (row.id, expected)


def test_predictions_are_the_models_own(tiny_encoder: Path, trained: Path, tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Compared with plain calls of the model, one row at a time."""
    from viaduct.heads.head import load_head

    rows = tiny.rows("pair", 5)
    context = stage("pair", trained, tmp_path, {"en": rows})
    tiny.run(context)
    head, _ = load_head(trained / "pair", 32, 0.0)
    model = TaskModel(load_encoder(str(tiny_encoder), None), head).eval()
    for row, one in zip(rows, lines_of(context, "en"), strict=True):
        inputs = tiny_tokenizer(row.first, row.second, return_tensors="pt")
        with torch.inference_mode():
            logits = model.head(model.encoder(**inputs).last_hidden_state)[0].tolist()
        assert one["scores"] == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize("products", ["bf16", "fp16"])
def test_products_of_fewer_digits_are_part_of_what_is_predicted_and_on_record(
    products: str, trained: Path, tmp_path: Path
) -> None:
    rows: dict[str, list[Row]] = {"en": tiny.rows("tagged", 7)}
    exact, rounded = (stage("tagged", trained, tmp_path / name, rows) for name in ("exact", "rounded"))
    work = exact.work.model_copy(update={"products": products})
    rounded = replace(rounded, work=work)
    assert (tiny.run(exact).precision, tiny.run(rounded).precision) == (None, products)
    assert "products" not in literals(exact.work) and literals(work)["products"] == products
    assert f"with products in {products}" in kind_of("predict").label(work)
    pairs = list(zip(lines_of(exact, "en"), lines_of(rounded, "en"), strict=True))
    assert [one["prediction"] for one, _ in pairs] == [other["prediction"] for _, other in pairs]


def test_vectors_in_bfloat16_are_near_those_in_float32(tiny_encoder: Path, tmp_path: Path) -> None:
    vectors = []
    for products in ("fp32", "bf16"):
        (folder := tmp_path / products).mkdir()
        encoded = encode(tiny.rows("pair", 9), encode_pairs, tiny.tokenizer(), (), Limits(64))
        with torch.inference_mode(), products_in(products, torch.device("cpu")):
            how = Embedding((1,), "mean", folder, 1e9)
            vectors.append(embed(load_encoder(str(tiny_encoder), None).eval(), encoded, 1, how, lambda *_: None)[1])
    cosines = (vectors[0] * vectors[1]).sum(dim=1)
    assert not torch.equal(*vectors) and cosines.min() > 0.999
