"""From a torch model to the files of ONNX Runtime and OpenVINO, whole or in int8.

int8 is dynamic in ONNX Runtime (inputs of products are quantised as they come; no data needed) and static in OpenVINO
(their ranges are measured beforehand on real batches, with nncf).
"""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Limits
from viaduct.errors import DataError, UsageError
from viaduct.rows import Sentence
from viaduct.runs.stage import Context, PredictWork
from viaduct.serving.engines import (
    FILES,
    Engine,
    Exported,
    OnnxEngine,
    OpenVINOEngine,
    TorchEngine,
    arrays,
    package,
    require,
)
from viaduct.serving.reduced import with_int8_embedding
from viaduct.serving.trained import Trained, Whole
from viaduct.serving.trial import TRIAL_ROWS, batches, encoded_rows, text_rows

LARGEST_FILE = 1_900_000_000
"""Bytes of weights that an ONNX file holds at most (protobuf's limit is 2 GiB); more lie beside it."""

NOISY = ("torch.onnx", "root", "onnxscript", "nncf", "transformers")
"""Loggers that report the inner workings of a conversion."""


def input_names(source: Trained) -> tuple[str, ...]:
    """What the model is given."""
    return ("input_ids", "attention_mask", *(("token_type_ids",) if source.has_segments else ()))


def write_model(
    source: Trained, engine: str, precision: str, folder: Path, calibration: Sequence[Batch] | None = None
) -> None:
    """Write the model's files for ONNX Runtime or OpenVINO; the latter's int8 needs batches to be calibrated on.

    Raises UsageError when a package is missing or the architecture cannot be converted.
    """
    if engine == "onnx":
        to_onnx(source.model, input_names(source), folder, int8=precision == "int8")
    else:
        to_openvino(source.model, input_names(source), folder, calibration=calibration)


def planned_engine(source: Trained, context: Context, work: PredictWork, limits: Limits) -> Engine:
    """The engine that a stage is to predict with; the files that it needs are written to the stage's scratch folder.

    Raises UsageError for a package or processor that cannot do it, and an architecture that cannot be converted.
    """
    require(work.engine, work.precision)
    if work.engine == "torch":
        return TorchEngine(source, work.precision, context.threads)
    context.progress(0, 1, f"converting for {work.engine}")
    folder = context.scratch / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    calibration = None
    if (work.engine, work.precision) == ("openvino", "int8"):
        texts = {f"{name} {code}": _lines(context, name, code) for name, code in work.calibration}
        trial = text_rows(texts, TRIAL_ROWS)
        if trial is None:
            raise DataError("OpenVINO's int8 is calibrated on text, and there is none", fix="check --data")
        pad_id = source.tokenizer.pad_token_id
        calibration = batches(encoded_rows(trial, source.tokenizer, limits), pad_id)
    write_model(source, work.engine, work.precision, folder, calibration)
    exported = Exported(
        folder=folder,
        engine=work.engine,
        precision=work.precision,
        inputs=input_names(source),
        spec=source.spec,
        pad_id=source.tokenizer.pad_token_id,
        task=work.task,
        limits=limits,
    )
    return OnnxEngine(exported, context.threads) if work.engine == "onnx" else OpenVINOEngine(exported, context.threads)


def _lines(context: Context, name: str, language: str) -> list[str]:
    rows = context.load(name, "train", language).rows
    return [row.text for row in rows if isinstance(row, Sentence)]


def to_onnx(model: Whole, inputs: tuple[str, ...], folder: Path, *, int8: bool) -> None:
    """Write model.onnx (and model.onnx.data when it is large). Raises UsageError when a package is missing or the
    architecture cannot be converted."""
    for name in ("onnxruntime", "onnx", "onnxscript"):
        package(name, of="onnx")
    if not int8:
        with _converting("onnx", model):
            _write_onnx(model, inputs, folder / FILES["onnx"])
        return
    quantization = package("onnxruntime.quantization", of="onnx")
    with tempfile.TemporaryDirectory(dir=folder) as between, _converting("onnx", model):
        whole = Path(between) / FILES["onnx"]
        _write_onnx(with_int8_embedding(model), inputs, whole)
        quantization.quantize_dynamic(
            whole,
            folder / FILES["onnx"],
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=_bytes(model) > 4 * LARGEST_FILE,
        )


def _write_onnx(model: Whole, inputs: tuple[str, ...], path: Path) -> None:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        model,
        tuple(_sample(inputs).values()),
        path,
        input_names=list(inputs),
        output_names=[output_name(model)],
        dynamo=True,
        dynamic_shapes=tuple(axes for _ in inputs),
        external_data=_bytes(model) > LARGEST_FILE,
        verbose=False,
    )


def to_openvino(model: Whole, inputs: tuple[str, ...], folder: Path, *, calibration: Sequence[Batch] | None) -> None:
    """Write openvino_model.xml and .bin: in int8 when there are batches to calibrate on, else in float32.

    Raises UsageError when a package is missing or the architecture cannot be converted.
    """
    openvino = package("openvino", of="openvino")
    if calibration is not None:
        package("nncf", of="openvino")
    with _converting("openvino", model):
        # An embedding that nncf quantised would be turned back into float32 when the model is loaded.
        source = model if calibration is None else with_int8_embedding(model)
        converted = openvino.convert_model(source, example_input=_sample(inputs))
        converted.outputs[0].get_tensor().set_names({output_name(model)})
        if calibration is not None:
            converted = _calibrated(converted, inputs, calibration)
        openvino.save_model(converted, folder / FILES["openvino"], compress_to_fp16=False)


def _calibrated(converted: Any, inputs: tuple[str, ...], calibration: Sequence[Batch]) -> Any:
    nncf = package("nncf", of="openvino")
    with redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            converted,
            nncf.Dataset(calibration, lambda batch: arrays(batch, inputs)),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        )


def output_name(model: Whole) -> str:
    """ "logits", or "last_hidden_state" where there is no head."""
    return "last_hidden_state" if model.head is None else "logits"


def _sample(inputs: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """A batch to follow through the model: two rows of eight tokens, the second padded."""
    mask_BL = torch.ones(2, 8, dtype=torch.int64)
    mask_BL[1, 5:] = 0
    types_BL = torch.zeros_like(mask_BL)
    known = {"input_ids": types_BL + 4, "attention_mask": mask_BL, "token_type_ids": types_BL}
    return {name: known[name] for name in inputs}


def _bytes(model: Whole) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


@contextmanager
def _converting(engine: str, model: Whole) -> Iterator[None]:
    """Without the packages' own reports of what they do; what they cannot convert becomes one message."""
    levels = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # each package has its own
        config: Any = model.encoder.config
        raise UsageError(
            f"{engine} cannot convert an encoder of type {config.model_type}: {str(error).strip().splitlines()[0]}",
            fix="try the other engine",
        ) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
