"""One measurement of the inference benchmark: one way of predicting, one model, in its own process.

`python inference_worker.py '{...}'` prints one JSON object as its last line. Text goes in and labels come out:
everything in between is timed, including tokenising and sorting; loading the model is timed separately. Single rows
come first, one call each, then all rows in one call.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inference_models import LABELS, Pairs, make_pairs
from training_rows import LONGEST, SHAPES

BATCH_ROWS = 32
WARM_UP_ROWS = 8
Predict = Callable[[list[str], list[str]], list[int]]


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    shape: str
    folder: str
    rows: int
    single_rows: int
    threads: int
    seed: int
    device: str = "cpu"

    @property
    def format(self) -> str:
        """The number format of the products, from the end of the variant's name."""
        return next((one for one in ("bf16", "fp16") if self.variant.endswith(one)), "fp32")


@dataclass(frozen=True)
class Measurement:
    """The result; `seconds` and `cpu_seconds` are for all rows in one call."""

    variant: str
    rows: int
    tokens: int
    squares: int
    """Sum of the rows' squared lengths, which determines the cost of attention."""
    load_seconds: float
    seconds: float
    cpu_seconds: float
    single_ms: list[float]
    single_cpu_ms: list[float]
    peak_mib: float
    predictions: list[int]
    products_per_second: float
    versions: dict[str, str]


def measure(request: Request) -> Measurement:
    """Load, warm up, time single rows, then all rows; and measure matrix products right before and after these."""
    from viaduct.models.numerics import prepare
    from viaduct.serving.machine import device_peak, matrix_rate

    prepare(request.device, request.threads)
    products = (request.threads, request.device, request.format)
    pairs = make_pairs(SHAPES[request.shape], request.seed, request.rows + WARM_UP_ROWS)
    started = time.perf_counter()
    predict, versions = OPENERS[request.variant.split("_")[0]](request)
    loaded = time.perf_counter() - started
    warm, timed = _cut(pairs, request.rows, None), _cut(pairs, 0, request.rows)
    predict(warm.first, warm.second)
    singles = []
    for at in range(WARM_UP_ROWS + min(request.single_rows, request.rows)):
        source, index = (warm, at) if at < WARM_UP_ROWS else (timed, at - WARM_UP_ROWS)
        began, cpu_began = time.perf_counter(), time.process_time()
        predict(source.first[index : index + 1], source.second[index : index + 1])
        singles.append((1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - cpu_began)))
    rate = max(matrix_rate(*products).values())
    began, cpu_began = time.perf_counter(), time.process_time()
    predictions = predict(timed.first, timed.second)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = (device_peak(request.device) or 0) / 2**20
    return Measurement(
        variant=request.variant,
        rows=request.rows,
        tokens=int(timed.lengths.sum()),
        squares=int((timed.lengths.astype(np.int64) ** 2).sum()),
        load_seconds=loaded,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        single_ms=[wall for wall, _ in singles[WARM_UP_ROWS:]],
        single_cpu_ms=[cpu for _, cpu in singles[WARM_UP_ROWS:]],
        peak_mib=peak,
        predictions=predictions,
        products_per_second=max(rate, *matrix_rate(*products).values()),
        versions=versions,
    )


def _cut(pairs: Pairs, start: int, stop: int | None) -> Pairs:
    part = slice(start, stop)
    return Pairs(pairs.first[part], pairs.second[part], pairs.labels[part], pairs.lengths[part])


# ---- ours ------------------------------------------------------------------------------------------------------------


def _viaduct(request: Request) -> tuple[Predict, dict[str, str]]:
    from viaduct.encode.tokens import Limits, encode
    from viaduct.heads.pair import encode_pairs
    from viaduct.inference.prediction import predict_all
    from viaduct.models.encoder import load_tokenizer
    from viaduct.rows import Pair
    from viaduct.serving.engines import open_engine

    _, name, precision = request.variant.split("_")
    folder = Path(request.folder)
    place = folder if name == "torch" else folder / f"{name}-{precision}"
    engine = open_engine(place, name, precision, request.threads, request.device)
    tokenizer = load_tokenizer(str(folder / "encoder"), None)
    assert engine.spec is not None

    def predict(first: list[str], second: list[str]) -> list[int]:
        rows = [
            Pair(str(at), "en", one, other, None) for at, (one, other) in enumerate(zip(first, second, strict=True))
        ]
        encoded = encode(rows, encode_pairs, tokenizer, (), Limits(LONGEST))
        found = predict_all(engine, engine.spec, rows, encoded, tokenizer.pad_token_id)
        return [LABELS.index(one.prediction) for one in found]

    return predict, engine.versions()


# ---- the engines without us: batches in the given order, padded to their longest row --------------------------------


def _bare(request: Request) -> tuple[Predict, dict[str, str]]:
    from importlib.metadata import version

    from tokenizers import Tokenizer

    _, name, precision = request.variant.split("_")
    folder = Path(request.folder) / f"{name}-{precision}"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    run = (_bare_onnx if name == "onnx" else _bare_openvino)(folder, request.threads)

    def predict(first: list[str], second: list[str]) -> list[int]:
        found: list[int] = []
        for at in range(0, len(first), BATCH_ROWS):
            texts = list(zip(first[at : at + BATCH_ROWS], second[at : at + BATCH_ROWS], strict=True))
            encodings = tokenizer.encode_batch(texts)
            inputs = {
                "input_ids": np.array([one.ids for one in encodings]),
                "attention_mask": np.array([one.attention_mask for one in encodings]),
            }
            found.extend(run(inputs).argmax(axis=1).tolist())
        return found

    package = {"onnx": "onnxruntime"}.get(name, name)
    return predict, {package: version(package)}


def _bare_onnx(folder: Path, threads: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def _bare_openvino(folder: Path, threads: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports usage over the network
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(str(folder / "openvino_model.xml"), "CPU", settings)
    return lambda inputs: model(inputs)[0]


# ---- transformers ----------------------------------------------------------------------------------------------------


def _stock_model(request: Request) -> tuple[Any, Any]:
    """transformers' own classifier with our weights, and its tokenizer."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, XLMRobertaForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    source = Path(request.folder) / "encoder"
    labels = dict(enumerate(LABELS))
    model = XLMRobertaForSequenceClassification.from_pretrained(source, num_labels=len(LABELS), id2label=labels)
    head = load_file(Path(request.folder) / "head.safetensors")
    model.classifier.load_state_dict({name.replace("out.", "out_proj."): value for name, value in head.items()})
    return model.eval(), AutoTokenizer.from_pretrained(source)


def _pipeline(request: Request) -> tuple[Predict, dict[str, str]]:
    from transformers import pipeline

    model, tokenizer = _stock_model(request)
    model = model.bfloat16() if request.format == "bf16" else model.half() if request.format == "fp16" else model
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=request.device)
    batch_size = int(request.variant.split("_")[1])

    def predict(first: list[str], second: list[str]) -> list[int]:
        texts = [{"text": one, "text_pair": other} for one, other in zip(first, second, strict=True)]
        return [LABELS.index(one["label"]) for one in classify(texts, batch_size=batch_size)]

    return predict, _stock_versions()


def _naive(request: Request) -> tuple[Predict, dict[str, str]]:
    import torch

    model, tokenizer = _stock_model(request)

    def predict(first: list[str], second: list[str]) -> list[int]:
        found: list[int] = []
        with torch.inference_mode():
            for at in range(0, len(first), BATCH_ROWS):
                part = slice(at, at + BATCH_ROWS)
                inputs = tokenizer(
                    first[part],
                    second[part],
                    padding="max_length",
                    truncation=True,
                    max_length=LONGEST,
                    return_tensors="pt",
                )
                found.extend(model(**inputs).logits.argmax(dim=1).tolist())
        return found

    return predict, _stock_versions()


def _sentence(request: Request) -> tuple[Predict, dict[str, str]]:
    """sentence-transformers' `encode` with the same encoder: mean-pooled vectors of both texts joined; no labels."""
    from importlib.metadata import version

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    source = str(Path(request.folder) / "encoder")
    parts = [Transformer(source, max_seq_length=LONGEST), Pooling(SHAPES[request.shape].width)]
    model = SentenceTransformer(modules=parts, device="cpu")

    def predict(first: list[str], second: list[str]) -> list[int]:
        texts = [f"{one} {other}" for one, other in zip(first, second, strict=True)]
        model.encode(texts, batch_size=BATCH_ROWS, show_progress_bar=False)
        return []

    return predict, {**_stock_versions(), "sentence-transformers": version("sentence-transformers")}


def _stock_versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers")}


OPENERS: dict[str, Callable[[Request], tuple[Predict, dict[str, str]]]] = {
    "viaduct": _viaduct,
    "bare": _bare,
    "pipeline": _pipeline,
    "naive": _naive,
    "sentence": _sentence,
}

if __name__ == "__main__":
    print(json.dumps(asdict(measure(Request(**json.loads(sys.argv[1]))))))
