"""A model exported for transformers opens with its Auto classes and the same logits, or is refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import architectures
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file

from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.heads.head import build_head, head_spec, save_head
from viaduct.inference.prediction import predict_all
from viaduct.serving.engines import TorchEngine
from viaduct.serving.export import ExportSettings, export
from viaduct.serving.model import open_model
from viaduct.serving.samples import Sample, batches
from viaduct.serving.transformers_folder import TransformersEngine

KINDS = {
    "pair": "AutoModelForSequenceClassification",
    "tagged": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "choice": "AutoModelForMultipleChoice",
}
SAME = [
    *((family, kind) for family in ("BERT", "RoBERTa", "XLM-R", "DeBERTa-v2 and v3") for kind in KINDS),
    *(("DeBERTa", kind) for kind in ("pair", "tagged", "span")),
    ("ELECTRA", "tagged"),
    ("MPNet", "pair"),
]
OTHER = {
    ("ELECTRA", "pair"): "logits differ by up to",
    ("DistilBERT", "pair"): "has no layer like 'dense'",
    ("ModernBERT", "tagged"): "has layers that this model lacks",
    ("DeBERTa", "choice"): "transformers has no AutoModelForMultipleChoice for deberta",
}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(family, kind of head) -> a folder with that encoder and a head with large random weights."""

    def made(family: str, kind: str | None) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        architectures.write(architectures.FAMILIES[family], folder)
        if kind is not None:
            spec = head_spec(tiny.CARDS[kind])
            torch.manual_seed(1)
            save_head(build_head(spec, 32, 0.0, initial_range=0.5), spec, folder)
        return folder

    return made


@pytest.mark.parametrize(("family", "kind"), SAME)
def test_transformers_gives_the_same_logits(family: str, kind: str, written: Any, tmp_path: Path) -> None:
    source = open_model(written_folder := written(family, kind))
    about = export(written_folder, tmp_path / "made", ExportSettings("transformers"))
    assert about["comparison"]["largest_difference"] <= 1e-5
    model = getattr(transformers, KINDS[kind]).from_pretrained(tmp_path / "made").eval()
    assert "LABEL" not in str(model.config.id2label) or kind in ("span", "choice")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    rows = tiny.rows(kind, 8)
    encoded = Sample("rows", tuple(rows), tiny.CARDS[kind]).encoded(
        source.tokenizer, source.model.within(Limits(64, 16))
    )
    expected, found = TorchEngine(source, "fp32", 1), TransformersEngine(tmp_path / "made", source)
    for batch in batches(encoded, tokenizer.pad_token_id):
        gap = (expected(batch) - found(batch)).abs()
        if gap.ndim == 3 and batch.mask_BL is not None:
            gap = gap[batch.mask_BL]
        assert float(gap.max()) <= 1e-5 and float(expected(batch).std()) > 0.001
    assert source.spec is not None
    one, other = (
        predict_all(engine, source.spec, rows, encoded, tokenizer.pad_token_id) for engine in (expected, found)
    )
    assert [row.prediction for row in one] == [row.prediction for row in other]


@pytest.mark.parametrize(("family", "kind"), OTHER)
def test_another_head_is_refused_with_the_reason(family: str, kind: str, written: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{OTHER[family, kind]}.*\n.*--engine onnx"):
        export(written(family, kind), tmp_path / "made", ExportSettings("transformers"))
    assert not (tmp_path / "made").exists()


def test_the_pipeline_says_the_labels(written: Any, tmp_path: Path) -> None:
    export(written("XLM-R", "pair"), tmp_path / "made", ExportSettings("transformers"))
    classify = transformers.pipeline("text-classification", str(tmp_path / "made"))
    (said,) = classify([{"text": "A boat.", "text_pair": "It is green."}])
    assert said["label"] in tiny.CARDS["pair"].labels
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForSequenceClassification.from_pretrained" in card and "pipeline_tag: text-classification" in card
    block = (
        card.split("```python\n")[1]
        .split("```")[0]
        .replace('from_pretrained(".")', f'from_pretrained("{tmp_path}/made")')
    )
    exec(block, {})  # the script of the model card


def test_an_encoder_alone_is_opened_by_sentence_transformers(written: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    folder = written("XLM-R", None)
    export(folder, tmp_path / "made", ExportSettings("transformers"))
    texts = ["A boat is on the river.", "The house is small and green."]
    found = torch.from_numpy(package.SentenceTransformer(str(tmp_path / "made"), device="cpu").encode(texts))
    source = open_model(folder)
    for text, vector in zip(texts, found, strict=True):
        ids_BL = torch.tensor([source.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            expected = source.model(ids_BL)[0].mean(0)
        assert float((vector - expected).abs().max()) <= 1e-5


def test_the_modules_of_the_makers_stay(written: Any, tmp_path: Path) -> None:
    folder = written("BERT", None)
    module = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    (folder / "modules.json").write_text(json.dumps([{**module, "idx": 0, "path": ""}, module]))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    export(folder, tmp_path / "made", ExportSettings("transformers"))
    assert (tmp_path / "made" / "1_Pooling" / "config.json").read_text() == '{"pooling_mode_cls_token": true}'
    kept = load_file(tmp_path / "made" / "model.safetensors")
    assert kept["embeddings.word_embeddings.weight"].equal(
        load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    )


def test_other_precisions_are_refused(written: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8: transformers' folders are in float32"):
        export(written("BERT", "pair"), tmp_path / "made", ExportSettings("transformers", "int8"))
    shutil.rmtree(tmp_path / "made", ignore_errors=True)
