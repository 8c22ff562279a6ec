"""The machine that this process runs on: its processor, its cores, and the installed packages."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import platform
from pathlib import Path

import viaduct
from viaduct.errors import StoreError

PACKAGES = (
    *("torch", "transformers", "tokenizers", "accelerate", "safetensors", "numpy", "scipy", "sacrebleu"),
    *("onnxruntime", "openvino", "nncf"),
)
"""Packages that can change a number; the last three are an optional extra."""


def usable_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def noted_threads(file: Path) -> int:
    """The number of threads in a file left by an earlier attempt. Raises StoreError if it is damaged."""
    try:
        return max(1, int(file.read_text(encoding="ascii")))
    except ValueError as error:
        fix = "give the number of threads that the stage started with, as --threads N"
        raise StoreError(f"{file} is damaged: it does not hold a number", fix=fix) from error


@functools.cache  # reading them takes longer than a small stage
def versions() -> dict[str, str]:
    """Versions of everything installed that can change a number."""
    found = {"viaduct": viaduct.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.cache
def processor() -> str:
    """The model of the processor, as far as the system reports it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def machine(device: str) -> str:
    """The model of the device that a stage ran on; "" for a GPU that is not available here."""
    if device == "cpu":
        return processor()
    cuda = importlib.import_module("torch").cuda
    return str(cuda.get_device_name()) if cuda.is_available() else ""
