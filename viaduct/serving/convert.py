"""Conversion of a torch model to files for ONNX Runtime and OpenVINO, in float32 or int8.

int8 is dynamic in ONNX Runtime (inputs of products are quantised at run time; no data needed) and static in OpenVINO
(input ranges are measured beforehand on real batches, with nncf).
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
from viaduct.errors import DataError, UsageError
from viaduct.inference.predict import PredictWork
from viaduct.inference.prediction import TrainedModel
from viaduct.models.weights_check import first_line
from viaduct.runs.families import ENCODER_SIDES
from viaduct.runs.stage import Context
from viaduct.serving.compression import calibration_of, engine_of, is_calibrated
from viaduct.serving.engines import FILES, Engine, ExportedEngine, TorchEngine, named_arrays, package, require_engine
from viaduct.serving.low_precision import with_int8_embedding
from viaduct.serving.model import InferenceModel, LoadedModel
from viaduct.serving.samples import batches, text_sample

LARGEST_FILE = 1_900_000_000
"""Most bytes of weights that an ONNX file holds (protobuf's limit is 2 GiB); larger ones go to a second file."""

NEEDED = {"onnx": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino",)}
QUANTISER = {"onnx": "onnxruntime.quantization", "openvino": "nncf"}
"""Engine -> the packages that write its files, and the one that quantises them to int8."""

NOISY = ("torch.onnx", "root", "onnxscript", "nncf", "transformers")
"""Loggers that report the inner workings of a conversion."""


def planned_engine(context: Context, work: PredictWork, trained: TrainedModel) -> Engine:
    """The engine that a Predict stage requests; the files it needs are written to the stage's scratch folder.

    Raises UsageError for a missing package, an unsuitable processor, and an architecture that cannot be converted.
    """
    source = LoadedModel(InferenceModel(trained.encoder, trained.head).eval(), trained.spec, trained.tokenizer)
    engine, precision = engine_of(work)
    require_engine(engine, precision)
    if engine == "torch":
        return TorchEngine(source, precision, context.threads)
    context.progress(0, 1, f"converting for {engine}")
    folder = context.scratch / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    calibration: list[Batch] = []
    if is_calibrated(engine, precision):
        found = {f"{name} {code}": context.load(name, "train", code).rows for name, code in calibration_of(work)}
        sample = text_sample({where: [row.texts[0] for row in rows] for where, rows in found.items()})
        if sample is None:
            raise DataError("OpenVINO's int8 is calibrated on text, but there is none", fix="check --data")
        calibration = batches(sample.encoded(source.tokenizer, trained.limits), source.tokenizer.pad_token_id)
    write_model(source, engine, precision, folder, calibration)
    return ExportedEngine(folder, engine, precision, source, context.threads)


def write_model(
    source: LoadedModel, engine: str, precision: str, folder: Path, calibration: Sequence[Batch] = ()
) -> None:
    """Write the model's files for ONNX Runtime or OpenVINO; OpenVINO's int8 needs batches for calibration.

    Raises UsageError when a package is missing or the architecture cannot be converted.
    """
    for name in (*NEEDED[engine], *((QUANTISER[engine],) if precision == "int8" else ())):
        package(name, of=engine)
    # An embedding that nncf quantised would be turned back into float32 when the model is loaded.
    model = with_int8_embedding(source.model) if precision == "int8" else source.model
    path = folder / FILES[engine]
    with _converting(engine, source):
        if engine == "openvino":
            _write_openvino(model, source, path, calibration)
        elif precision == "int8":
            _write_dynamic_onnx(model, source, path)
        else:
            _write_onnx(model, source, path)


def _write_onnx(model: InferenceModel, source: LoadedModel, path: Path) -> None:
    """Write `path` and, if the weights are large, a file with them next to it."""
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    encoder: Any = model.encoder
    attention = encoder.config._attn_implementation
    if source.config.model_type in ENCODER_SIDES:
        encoder.set_attn_implementation("eager")  # torch cannot trace T5's other implementation
    try:
        torch.onnx.export(
            model,
            tuple(_example(source.inputs).values()),
            path,
            input_names=list(source.inputs),
            output_names=[source.output],
            dynamo=True,
            dynamic_shapes=tuple(axes for _ in source.inputs),
            external_data=_bytes(model) > LARGEST_FILE,
            verbose=False,
        )
    finally:
        encoder.set_attn_implementation(attention)


def _write_dynamic_onnx(model: InferenceModel, source: LoadedModel, path: Path) -> None:
    quantization = package(QUANTISER["onnx"], of="onnx")
    with tempfile.TemporaryDirectory(dir=path.parent) as between:
        whole = Path(between) / path.name
        _write_onnx(model, source, whole)
        quantization.quantize_dynamic(
            whole,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=_bytes(source.model) > 4 * LARGEST_FILE,
        )


def _write_openvino(model: InferenceModel, source: LoadedModel, path: Path, calibration: Sequence[Batch]) -> None:
    """Write `path` and the weights next to it: in int8 if there are batches to calibrate on, else in float32."""
    openvino = package("openvino", of="openvino")
    converted = openvino.convert_model(model, example_input=_example(source.inputs))
    converted.outputs[0].get_tensor().set_names({source.output})
    if calibration:
        nncf = package(QUANTISER["openvino"], of="openvino")
        with redirect_stdout(io.StringIO()):  # its progress bars
            converted = nncf.quantize(
                converted,
                nncf.Dataset(calibration, lambda batch: named_arrays(batch, source.inputs)),
                model_type=nncf.ModelType.TRANSFORMER,
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(calibration),
            )
    openvino.save_model(converted, path, compress_to_fp16=False)


def _example(inputs: Sequence[str]) -> dict[str, torch.Tensor]:
    """A batch to trace the model with: two rows of eight tokens, the second padded."""
    mask_BL = torch.ones(2, 8, dtype=torch.int64)
    mask_BL[1, 5:] = 0
    types_BL = torch.zeros_like(mask_BL)
    known = {"input_ids": types_BL + 4, "attention_mask": mask_BL, "token_type_ids": types_BL}
    return {name: known[name] for name in inputs}


def _bytes(model: InferenceModel) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


@contextmanager
def _converting(engine: str, source: LoadedModel) -> Iterator[None]:
    """Silence the packages' own logs and warnings, and turn a failed conversion into a single UsageError."""
    levels = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # each package raises its own
        raise UsageError(
            f"{engine} cannot convert an encoder of type {source.config.model_type}:"
            f" {first_line(error.__cause__ or error)}",
            fix="try the other engine",
        ) from error
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
