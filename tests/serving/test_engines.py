"""Every engine gives what torch gives; int8 keeps a trained model's predictions."""

from __future__ import annotations

import ctypes.util
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoConfig, AutoModel

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Limits
from viaduct.errors import StoreError, UsageError
from viaduct.heads.head import HeadSpec
from viaduct.inference.prediction import predict_all
from viaduct.models.encoder import save_encoder
from viaduct.rows import Row
from viaduct.serving.compression import ENGINES
from viaduct.serving.engines import Engine, open_engine
from viaduct.serving.export import ExportSettings, export
from viaduct.serving.low_precision import RowQuantised

EVERY = [(engine, precision) for engine, precisions in ENGINES.items() for precision in precisions]
SPEC = HeadSpec("pair", ("no", "yes"))
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "deberta-v2": {**SHAPE, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {**SHAPE, "global_attn_every_n_layers": 2, "local_attention": 16},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": 1},
}


pytestmark = pytest.mark.usefixtures("engines_installed")


@pytest.fixture(scope="module")
def made(trained_pairs: Path, exported: Any) -> dict[tuple[str, str], Engine]:
    """Every engine in every precision, with the same trained model."""
    found = {}
    for engine, precision in EVERY:
        try:
            place = trained_pairs if engine == "torch" else exported(engine, precision)[0]
            found[engine, precision] = open_engine(place, engine, precision, 1)
        except UsageError as error:
            assert (engine, precision) == ("openvino", "bf16") and "no bfloat16 instructions" in str(error)
    return found


@pytest.fixture
def both(made: dict[tuple[str, str], Engine], engine: str, precision: str) -> tuple[Engine, Engine]:
    """torch in float32, and the engine of the test in its precision."""
    if (engine, precision) not in made:
        pytest.skip("this processor has no bfloat16 instructions")
    return made["torch", "fp32"], made[engine, precision]


def batch_of(words: Any, rows: list[Row], examples: list[int]) -> Batch:
    return collate(tiny.encode(rows, words, (), Limits(64)), np.array(examples), words.pad_token_id)


@pytest.mark.parametrize(("engine", "precision"), EVERY)
def test_logits_are_torchs(precision: str, both: tuple[Engine, Engine], tiny_tokenizer: Any) -> None:
    most = {"fp32": 1e-4, "bf16": 0.3, "int8": 0.6}[precision]
    for examples in ([0, 1, 2, 3, 4], [7], [2, 12]):  # padded, one row, rows of the same length
        batch = batch_of(tiny_tokenizer, tiny.rows("pair", 15), examples)
        expected, found = (one(batch) for one in both)
        assert found.dtype == torch.float32 and found.shape == expected.shape == (len(examples), 2)
        torch.testing.assert_close(found, expected, atol=most, rtol=0)


@pytest.mark.parametrize(("engine", "precision"), EVERY)
def test_a_trained_models_predictions_stay(both: tuple[Engine, Engine], tiny_tokenizer: Any) -> None:
    rows = tiny.rows("pair", 300, offset=1000)
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64))
    predictions = [[one.prediction for one in predict_all(engine, SPEC, rows, encoded, 1)] for engine in both]
    right = [one == tiny.gold(row) for one, row in zip(predictions[0], rows, strict=True)]
    assert np.mean(right) > 0.95, "the model has learned nothing, so the test shows nothing"
    assert np.mean([one == other for one, other in zip(*predictions, strict=True)]) >= 0.99


def test_engines_say_what_they_are(made: Any) -> None:
    for (name, precision), engine in made.items():
        assert (engine.name, engine.precision, engine.spec) == (name, precision, SPEC)
        assert all(engine.versions().values())


@pytest.mark.parametrize(
    ("architecture", "engine"),
    [("bert", "onnx"), ("modernbert", "onnx"), *((name, "openvino") for name in ("bert", "deberta-v2", "modernbert"))],
)
def test_architectures_are_exported_whole(architecture: str, engine: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    words = tiny.typed_tokenizer(tiny_tokenizer) if architecture == "bert" else tiny_tokenizer
    source = tmp_path / architecture
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture, vocab_size=len(words), max_position_embeddings=140, pad_token_id=1, **SHAPES[architecture]
    )
    save_encoder(AutoModel.from_config(config), words, source)
    export(source, tmp_path / "made", ExportSettings(engine))
    runs = open_engine(tmp_path / "made", engine, "fp32", 1)
    assert runs.spec is None
    whole = open_engine(source, "torch", "fp32", 1)
    long = [tiny.rows("pair", 1)[0].__class__("long", "en", "green boat " * 25, "house " * 20, None)]
    for rows in (tiny.rows("pair", 6), long):  # longer than ModernBERT's local window
        batch = batch_of(words, rows, list(range(len(rows))))
        keep = 1.0 if batch.mask_BL is None else batch.mask_BL[..., None]
        torch.testing.assert_close(runs(batch) * keep, whole(batch) * keep, atol=1e-4, rtol=0)


def test_an_architecture_that_openvino_cannot_convert_is_named(tiny_tokenizer: Any, tmp_path: Path) -> None:
    config = AutoConfig.for_model("xlm", vocab_size=len(tiny_tokenizer), pad_token_id=1, **SHAPES["xlm"])
    save_encoder(AutoModel.from_config(config), tiny_tokenizer, tmp_path / "xlm")
    with pytest.raises(UsageError, match="openvino cannot convert an encoder of type xlm"):
        export(tmp_path / "xlm", tmp_path / "made", ExportSettings("openvino"))
    assert [path.name for path in tmp_path.iterdir()] == ["xlm"]


def test_rows_in_int8_are_within_half_a_step() -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(50, 16)
    with torch.no_grad():
        embedding.weight[3] *= 100.0  # one row's outlier does not cost the others their precision
        embedding.weight[4] = 0.0
    ids = torch.arange(50)
    gap = (RowQuantised(embedding)(ids) - embedding(ids)).abs().amax(dim=1)
    assert (gap <= embedding.weight.abs().amax(dim=1) / 127 / 2 * 1.001).all()
    assert gap[4] == 0.0


@pytest.mark.parametrize(
    ("engine", "precision", "words"),
    [
        ("onyx", "fp32", "unknown engine 'onyx'. Did you mean 'onnx'"),
        ("onnx", "fp12", "unknown precision 'fp12'"),
        ("onnx", "bf16", "onnx does not run in bf16"),
    ],
)
def test_what_does_not_exist_is_named(engine: str, precision: str, words: str, trained_pairs: Path) -> None:
    with pytest.raises(UsageError, match=words):
        open_engine(trained_pairs, engine, precision, 1)


def test_a_folder_for_another_engine_is_refused(trained_pairs: Path, exported: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not an exported model[\s\S]*viaduct export"):
        open_engine(trained_pairs, "onnx", "fp32", 1)
    folder, _ = exported("openvino", "fp32")
    with pytest.raises(UsageError, match="exported for openvino in fp32, not for onnx in int8"):
        open_engine(folder, "onnx", "int8", 1)
    with pytest.raises(UsageError, match="which has no weights that torch can read"):
        open_engine(folder, "torch", "fp32", 1)
    (tmp_path / "export.json").write_text('{"engine": "onnx"}', encoding="utf-8")
    with pytest.raises(StoreError, match=r"is not an exported model \(precision: Field required"):
        open_engine(tmp_path, "onnx", "fp32", 1)


def test_a_signal_reaches_its_handler_whichever_engine_was_closed_first(exported: Any) -> None:
    """A model may be trained after others were quantised and measured in the same process, and Ctrl-C still works."""
    come: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: come.append(number))
    try:
        place, _ = exported("openvino", "fp32")
        first, second = (open_engine(place, "openvino", "fp32", 1) for _ in range(2))
        del first
        gc.collect()
        del second
        gc.collect()
        os.kill(os.getpid(), signal.SIGUSR1)  # a segmentation fault if the signal stack is gone
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert come == [signal.SIGUSR1]


OPEN = """
import sys
from pathlib import Path
from viaduct.serving.engines import open_engine
open_engine(Path(sys.argv[1]), "openvino", "fp32", 1)
"""


def test_openvino_runs_with_another_allocator_in_the_place_of_glibcs(exported: Any) -> None:
    allocator = next(filter(None, map(ctypes.util.find_library, ("jemalloc", "tcmalloc", "mimalloc"))), None)
    if allocator is None:
        pytest.skip("no allocator that could be loaded in the place of glibc's (apt install libjemalloc2)")
    place, _ = exported("openvino", "fp32")
    environment = {name: value for name, value in os.environ.items() if name != "TBB_ENABLE_SANITIZERS"}
    command = [sys.executable, "-c", OPEN, str(place)]
    subprocess.run(command, env={**environment, "LD_PRELOAD": allocator}, check=True)


@pytest.mark.parametrize(("engine", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_names_the_extra(
    engine: str, package: str, trained_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"needs the package {package}[\s\S]*pip install 'viaduct-nlp\[engines\]'"):
        export(trained_pairs, tmp_path / "made", ExportSettings(engine))
    assert not list(tmp_path.iterdir())
