"""One interface to three ways of running a trained model on a CPU: torch, ONNX Runtime and OpenVINO.

An engine takes a batch and gives logits (or the encoder's states, where there is no head) in float32. torch opens the
folders that stages leave; the other two open what `viaduct export` writes. They are an extra:
`pip install 'viaduct[engines]'`.

Shape letters: B sequences, L tokens.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Limits
from viaduct.errors import StoreError, UsageError, unknown
from viaduct.heads.head import HeadSpec
from viaduct.runs.spec import ENGINES
from viaduct.serving.reduced import in_bfloat16, in_int8
from viaduct.serving.trained import Trained, open_trained

PRECISIONS = tuple(dict.fromkeys(one for every in ENGINES.values() for one in every))
PACKAGES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
FILES = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}


class Engine(nn.Module):
    """What runs a model. Calling it with a batch on the CPU gives float32 logits_BC, logits_BLC or hidden_BLD."""

    name: str
    precision: str
    spec: HeadSpec | None
    """None: there is no head, and the encoder's states come out."""

    def versions(self) -> dict[str, str]:
        """The version of the package that does the work."""
        return {PACKAGES[self.name]: version(PACKAGES[self.name])}


@dataclass(frozen=True)
class Exported:
    """What an exported folder says about itself (`export.json`)."""

    folder: Path
    engine: str
    precision: str
    inputs: tuple[str, ...]
    spec: HeadSpec | None
    pad_id: int
    task: str | None
    """The card that the head was trained on, where it is known."""
    limits: Limits
    """How rows are cut for it."""


def require(engine: str, precision: str) -> None:
    """Nothing. Raises UsageError for an engine or precision that does not exist, and when the two do not go
    together."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision not in ENGINES[engine]:
        raise UsageError(
            f"{engine} does not run in {precision} on CPUs", fix=f"use one of: {', '.join(ENGINES[engine])}"
        )


def package(name: str, *, of: str) -> Any:
    """The module of this name. Raises UsageError that names the extra when it is not installed."""
    if name.split(".")[0] in ("openvino", "nncf"):
        # Both report their use to their makers over the network; without this package they do not.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"the engine {of} needs the package {name}, which cannot be imported: {error}",
            fix="pip install 'viaduct[engines]'",
        ) from error


def is_exported(folder: Path) -> bool:
    """Whether `viaduct export` made this folder."""
    return (folder / "export.json").is_file()


def read_exported(folder: Path) -> Exported:
    """What is in a folder that `viaduct export` made. Raises StoreError when it is damaged or made by something
    else."""
    try:
        about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        head = about["head"]
        return Exported(
            folder=folder,
            engine=about["engine"],
            precision=about["precision"],
            inputs=tuple(about["inputs"]),
            spec=None if head is None else HeadSpec(head["kind"], tuple(head["labels"])),
            pad_id=about["pad_id"],
            task=about["task"],
            limits=Limits(about["max_length"], about["stride"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder} is not an exported model ({type(error).__name__}: {error})",
            fix="make it with `viaduct export MODEL DIR --engine onnx`",
        ) from error


def open_engine(folder: Path, engine: str, precision: str, threads: int) -> Engine:
    """The model of a folder, ready to run.

    torch opens a trained stage's folder or an encoder's; onnx and openvino open a folder that was exported for them in
    this precision. Raises UsageError for a combination that does not exist, a package or processor that cannot do it,
    and a folder that is not for this engine.
    """
    require(engine, precision)
    if engine == "torch":
        return TorchEngine(open_trained(folder), precision, threads)
    found = read_exported(folder)
    if (found.engine, found.precision) != (engine, precision):
        raise UsageError(
            f"{folder} was exported for {found.engine} in {found.precision}, not for {engine} in {precision}",
            fix=f"viaduct export MODEL DIR --engine {engine} --precision {precision}",
        )
    return OnnxEngine(found, threads) if engine == "onnx" else OpenVINOEngine(found, threads)


class TorchEngine(Engine):
    """torch itself: what predicts within runs."""

    def __init__(self, trained: Trained, precision: str, threads: int) -> None:
        super().__init__()
        self.name, self.precision, self.spec = "torch", precision, trained.spec
        torch.set_num_threads(threads)
        reduce: dict[str, Callable[[Any], nn.Module]] = {"bf16": in_bfloat16, "int8": in_int8}
        self.model = reduce[precision](trained.model) if precision in reduce else trained.model

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output for this batch."""
        with torch.inference_mode():
            output: torch.Tensor = self.model(batch.ids_BL, batch.mask_BL, batch.types_BL)
        return output.float()


class OnnxEngine(Engine):
    """ONNX Runtime, on its CPU provider."""

    def __init__(self, exported: Exported, threads: int) -> None:
        super().__init__()
        self.name, self.precision, self.spec = "onnx", exported.precision, exported.spec
        self.inputs = exported.inputs
        runtime = package("onnxruntime", of="onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = str(exported.folder / FILES["onnx"])
        self.session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output for this batch."""
        return torch.from_numpy(self.session.run(None, arrays(batch, self.inputs))[0])


class OpenVINOEngine(Engine):
    """OpenVINO, on its CPU plugin."""

    def __init__(self, exported: Exported, threads: int) -> None:
        super().__init__()
        self.name, self.precision, self.spec = "openvino", exported.precision, exported.spec
        self.inputs = exported.inputs
        core = package("openvino", of="openvino").Core()
        if self.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UsageError("this processor has no bfloat16 instructions that OpenVINO uses", fix="use fp32 or int8")
        # Without the hint OpenVINO calculates in bfloat16 wherever the processor can.
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(str(exported.folder / FILES["openvino"]), "CPU", settings)
        self.request = compiled.create_infer_request()

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output for this batch."""
        return torch.from_numpy(self.request.infer(arrays(batch, self.inputs), share_inputs=True)[0])


def arrays(batch: Batch, inputs: tuple[str, ...]) -> dict[str, Any]:
    """The batch as the named inputs of an exported model, (B, L) int64 each; what is not padded has a mask of ones,
    what has no segments is all of the first."""
    mask_BL = torch.ones_like(batch.ids_BL) if batch.mask_BL is None else batch.mask_BL.long()
    types_BL = torch.zeros_like(batch.ids_BL) if batch.types_BL is None else batch.types_BL
    known = {"input_ids": batch.ids_BL, "attention_mask": mask_BL, "token_type_ids": types_BL}
    return {name: known[name].numpy() for name in inputs}
