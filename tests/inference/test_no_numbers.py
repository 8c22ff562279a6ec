"""Logits, vectors and scores that are not finite never become a label, answer, neighbour or pair: a message names the
row, and the run that executes the stage names the stage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import small_world
import tiny
import torch
from rich.console import Console
from test_predict import in_german, stage, trained
from test_retrieve import sides
from test_retrieve import stage as search_stage
from torch import nn

from viaduct import api
from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Limits
from viaduct.errors import NumbersError
from viaduct.heads.head import head_spec
from viaduct.inference import prediction, retrieve
from viaduct.inference.mine import Side, pairs_by_margin
from viaduct.inference.neighbours import nearest_both_ways
from viaduct.inference.prediction import predict_all, write_predictions
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder
from viaduct.runs.execute import Options
from viaduct.runs.spec import Retrieval, Target
from viaduct.runs.stage import Context, Spent

__all__ = ["trained"]
WRONG = [math.nan, math.inf, -math.inf]


class Spoilt(nn.Module):
    """A model that returns 0 everywhere, but `value` at one place of each sequence that contains the piece."""

    def __init__(self, piece: int, value: float, width: int, flat: bool, at_padding: bool = False) -> None:
        super().__init__()
        self.piece, self.value, self.width, self.flat, self.at_padding = piece, value, width, flat, at_padding

    def forward(self, batch: Batch) -> torch.Tensor:
        """The logits, logits_BC or logits_BLC."""
        count, length = batch.ids_BL.shape
        logits = torch.zeros(count, self.width) if self.flat else torch.zeros(count, length, self.width)
        if self.at_padding and batch.mask_BL is not None and not self.flat:
            logits[~batch.mask_BL] = self.value
        for row in (batch.ids_BL == self.piece).any(dim=1).nonzero()[:, 0].tolist():
            logits[row].view(-1)[-1 if self.flat else 1] = self.value
        return logits


WIDTHS = {"pair": (2, True), "choice": (1, True), "tagged": (3, False), "span": (2, False)}


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_a_logit_that_is_no_number_names_the_row(kind: str, value: float, tiny_tokenizer: Any) -> None:
    rows, spec = in_german(tiny.rows(kind, 9)), head_spec(tiny.CARDS[kind])
    width = len(spec.labels) or WIDTHS[kind][0]
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64, 8))
    last = encoded.ids[encoded.offsets[-2] : encoded.offsets[-1]]
    others = set(encoded.ids[: encoded.offsets[encoded.groups[encoded.rows.tolist().index(8)]]].tolist())
    own = next((piece for piece in last.tolist() if piece not in others), None)
    model = Spoilt(int(last[1] if own is None else own), value, width, WIDTHS[kind][1])
    named = {rows[encoded.rows[at]].id for at in range(len(encoded)) if model.piece in pieces(encoded, at)}
    with pytest.raises(NumbersError, match=rf"the logit of row .* is no finite number but {value}") as caught:
        predict_all(model, spec, rows, encoded, 1)
    assert any(f"'{row}' (de)" in str(caught.value) for row in named), (named, str(caught.value))


def pieces(encoded: Any, example: int) -> list[int]:
    first, last = (encoded.offsets[encoded.groups[at]] for at in (example, example + 1))
    found: list[int] = encoded.ids[first:last].tolist()
    return found


@pytest.mark.parametrize("kind", ["tagged", "span"])
def test_what_is_said_of_padding_may_be_anything(kind: str, tiny_tokenizer: Any) -> None:
    rows, spec = tiny.rows(kind, 9), head_spec(tiny.CARDS[kind])
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64, 8))
    width = len(spec.labels) or WIDTHS[kind][0]
    plain, padded = (Spoilt(-1, math.nan, width, flat=False, at_padding=at_padding) for at_padding in (False, True))
    assert predict_all(padded, spec, rows, encoded, 1) == predict_all(plain, spec, rows, encoded, 1)


@pytest.mark.parametrize("kind", ["retrieval", "mining"])
def test_a_vector_without_a_length_names_the_row(
    kind: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(source: str, revision: str | None) -> nn.Module:
        model = load_encoder(source, revision)
        with torch.no_grad():
            model.get_input_embeddings().weight[piece] = math.nan  # type: ignore[operator]
        return model

    tokenizer = prediction.load_tokenizer(str(tiny_encoder), None)
    parts = {("de", split): sides("de", 6) for split in ("test", "dev")}
    row = next(row for row in parts["de", "test"] if row.side == "source")  # type: ignore[attr-defined]
    piece = tokenizer(row.texts[0], add_special_tokens=False)["input_ids"][0]
    monkeypatch.setattr(retrieve, "load_encoder", damaged)
    with pytest.raises(NumbersError, match=r"the vector's length in layer 1 of row '.*' \(de\) is no finite number"):
        tiny.run(search_stage(kind, tmp_path, tiny_encoder, parts))


@pytest.mark.parametrize("value", WRONG[:2])
def test_vectors_that_are_no_numbers_have_no_neighbours(value: float) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    vectors[4, 2] = value
    with pytest.raises(NumbersError, match="the similarity of vector"):
        nearest_both_ways(vectors, vectors.nan_to_num(0.5, 0.5), 2)


def test_a_margin_over_nothing_is_refused() -> None:
    """Of two centred sentences, each is as similar to one of the other side as it is dissimilar to the other one."""
    one = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    source, target = Side(("s1", "s2"), one), Side(("t1", "t2"), one.flip(0).clone())
    with pytest.raises(NumbersError, match="the ratio margin of sentence 's1' is no finite number"):
        pairs_by_margin(source, target, Retrieval(neighbours=4), retrieve.Search())
    assert pairs_by_margin(source, target, Retrieval(neighbours=4, margin="distance"), retrieve.Search())


@pytest.mark.parametrize("value", WRONG)
def test_a_score_that_is_no_number_is_not_written(value: float, tmp_path: Path) -> None:
    found = [Prediction("a", "de", "yes", (0.5, 1.0)), Prediction("b", "de", "no", (0.5, value))]
    with pytest.raises(NumbersError, match=rf"a score of 'b' \(de\) is no finite number but {value}"):
        write_predictions(tmp_path, ["de"], found)
    assert not list(tmp_path.iterdir())


def test_the_stage_is_named(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(context: Context) -> Spent:
        if context.work.kind == "predict":
            write_predictions(context.directory, ["de"], [Prediction("7", "de", "yes", (math.nan,))])
        return whole(context)

    whole = small_world.run
    monkeypatch.setattr(small_world, "run", spoilt)
    asked = small_world.recipe(targets=(Target(task="fruit"),), seeds=(1,))
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    with pytest.raises(NumbersError, match=r"^mini/none/fruit/seed-1/predict: a score of '7' \(de\)"):
        api.run(asked, data=world, store=tmp_path / "s", options=options, console=Console(quiet=True), command="")
    assert not list((tmp_path / "s").glob("mini/none/fruit/seed-1/predict/stage.json"))


def test_a_damaged_head_names_a_row(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage("pair", trained, tmp_path, {"en": tiny.rows("pair", 3)})
    head, spec = prediction.load_head(trained / "pair", 32, 0.0)
    with torch.no_grad():
        next(head.parameters())[0, 0] = math.nan
    monkeypatch.setattr(prediction, "load_head", lambda *_, **__: (head, spec))
    with pytest.raises(NumbersError, match=r"the logit of row '.*' \(en\)"):
        tiny.run(made)
    assert not (made.directory / "predictions").exists()
