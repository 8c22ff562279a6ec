"""One interface to three ways of running a trained model: torch, and on CPUs ONNX Runtime and OpenVINO.

An engine takes a batch and returns logits (or the encoder's states, if there is no head) in float32. torch opens the
folders that stages leave; the other two open what `viaduct export` writes, and are an optional extra:
`pip install 'viaduct-nlp[engines]'`.

Shape letters: B sequences, L tokens.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError, unknown
from viaduct.heads.head import HeadSpec
from viaduct.inference.auto_model import named_inputs
from viaduct.serving.compression import ENGINES, ON_GPUS
from viaduct.serving.low_precision import in_half, in_int8
from viaduct.serving.model import ExportRecord, LoadedModel, export_record, not_exported, open_model

PRECISIONS = tuple(dict.fromkeys(one for every in (*ENGINES.values(), *ON_GPUS.values()) for one in every))
PACKAGES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
FILES = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}


class Engine(nn.Module):
    """Runs a model. Calling it with a batch on the CPU returns float32 logits_BC, logits_BLC or hidden_BLD, on the
    model's device."""

    def __init__(self, name: str, precision: str, spec: HeadSpec | None) -> None:
        super().__init__()
        self.name, self.precision = name, precision
        self.spec = spec
        """None: there is no head, and the output is the encoder's states."""

    def wait(self) -> None:
        """Block until everything that was requested is computed."""

    def versions(self) -> dict[str, str]:
        """The version of the package that does the work."""
        return {PACKAGES[self.name]: version(PACKAGES[self.name])}


class TorchEngine(Engine):
    """torch itself, which makes the predictions within runs."""

    def __init__(self, loaded: LoadedModel, precision: str, threads: int, device: str = "cpu") -> None:
        super().__init__("torch", precision, loaded.spec)
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        reduced: nn.Module = loaded.model
        if precision != "fp32":
            halves = {"bf16": torch.bfloat16, "fp16": torch.float16}
            reduced = in_int8(loaded.model) if precision == "int8" else in_half(loaded.model, halves[precision])
        self.model = reduced.to(self.device)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output for this batch."""
        batch = batch.to(self.device)
        with torch.inference_mode():
            output: torch.Tensor = self.model(batch.ids_BL, batch.mask_BL, batch.types_BL)
        return output.float()

    def wait(self) -> None:
        """Block until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class ExportedEngine(Engine):
    """ONNX Runtime or OpenVINO, with the exported files in a folder, and the inputs and head of the exported model."""

    def __init__(
        self, folder: Path, engine: str, precision: str, model: LoadedModel | ExportRecord, threads: int
    ) -> None:
        super().__init__(engine, precision, model.spec)
        self.inputs = model.inputs
        open_session = {"onnx": _onnx_session, "openvino": _openvino_session}[engine]
        self.infer = open_session(str(folder / FILES[engine]), precision, threads)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output for this batch."""
        return torch.from_numpy(self.infer(named_arrays(batch, self.inputs)))


Infer = Callable[[dict[str, Any]], np.ndarray[Any, Any]]
"""Takes arrays by input name, and returns the first output."""


def _onnx_session(file: str, _precision: str, threads: int) -> Infer:
    runtime = package("onnxruntime", of="onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(None, arrays)[0]


def _openvino_session(file: str, precision: str, threads: int) -> Infer:
    core = package("openvino", of="openvino").Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UsageError("this processor has no bfloat16 instructions that OpenVINO uses", fix="use fp32 or int8")
    # Without the hint OpenVINO computes in bfloat16 if the processor supports it.
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(file, "CPU", settings).create_infer_request()
    return lambda arrays: request.infer(arrays, share_inputs=True)[0]


def named_arrays(batch: Batch, inputs: Sequence[str]) -> dict[str, Any]:
    """The batch as the named inputs of an exported model, see `named_inputs`."""
    return {name: one.numpy() for name, one in named_inputs(batch, inputs).items()}


def open_engine(folder: Path, engine: str, precision: str, threads: int, device: str = "cpu") -> Engine:
    """The model in a folder, ready to run on the CPU or on "cuda".

    torch opens a trained stage's folder or an encoder's; onnx and openvino open a folder that was exported for them in
    this precision. Raises UsageError for an unsupported combination, a missing package, an unsuitable processor,
    and a folder exported for something else; StoreError for one that was not exported or is damaged.
    """
    require_engine(engine, precision, device)
    if engine == "torch":
        return TorchEngine(open_model(folder), precision, threads, device)
    found = export_record(folder)
    if found is None:
        raise not_exported(folder, "it has no export.json")
    if (found.engine, found.precision) != (engine, precision):
        raise UsageError(
            f"{folder} was exported for {found.engine} in {found.precision}, not for {engine} in {precision}",
            fix=f"viaduct export MODEL DIR --engine {engine} --precision {precision}",
        )
    return ExportedEngine(folder, engine, precision, found, threads)


def require_engine(engine: str, precision: str, device: str = "cpu") -> None:
    """Raise UsageError for an unknown engine or precision, and when the two cannot be combined on this device."""
    known, where = (ENGINES, "CPUs") if device == "cpu" else (ON_GPUS, "GPUs")
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if engine not in known:
        raise UsageError(f"the engine {engine} runs on CPUs only", fix="leave out --device, or use the engine torch")
    if precision not in known[engine]:
        fix = f"use one of: {', '.join(known[engine])}"
        raise UsageError(f"{engine} does not run in {precision} on {where}", fix=fix)


def package(name: str, *, of: str) -> Any:
    """Import the module of this name. Raises a UsageError that names the extra if it is not installed."""
    if name.split(".")[0] in ("openvino", "nncf"):
        # Both send usage reports to their makers over the network; without this package they do not.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        # Its TBB loads a library in a way that bypasses a preloaded allocator such as jemalloc; glibc then frees memory
        # of that allocator and crashes (oneTBB issue 1645). TBB does not do so if told that a sanitizer is in use.
        os.environ.setdefault("TBB_ENABLE_SANITIZERS", "1")
    try:
        module: Any = importlib.import_module(name)
        if name == "openvino" and isinstance(module.Core, type):
            # Each Core gives the thread an alternate signal stack and removes it when destroyed: once two are destroyed
            # in order of creation, the next signal, such as Ctrl-C, would crash. So one is kept; NNCF shares it.
            module.Core = functools.cache(module.Core)
        return module
    except ImportError as error:
        raise UsageError(
            f"the engine {of} needs the package {name}, which cannot be imported: {error}",
            fix="pip install 'viaduct-nlp[engines]'",
        ) from error
