"""Reports what this machine has and what is broken, before anything long is started.

Torch and transformers are tried in separate processes: a broken one then gives a line instead of a traceback, and this
process stays as quick as `--help`.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import viaduct
from viaduct.paths import cache_directory, existing_folder, free_bytes
from viaduct.runs.host import usable_cores

State = Literal["ok", "note", "broken"]

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy", "pillow", "pyarrow")
"""Packages whose versions are reported; all must be installed."""
LEAST_BYTES = 2e9
"""Free disk space below which a run soon fails: one checkpoint of xlm-roberta-base takes 1.1 GB."""
PATIENCE_SECONDS = 180.0
ALLOCATORS = {"jemalloc": "mallctl", "tcmalloc": "MallocExtension_ReleaseFreeMemory", "mimalloc": "mi_malloc"}
"""Allocators that may be loaded in place of the C library's -> a function that only this one has."""

TORCH = """
import json, torch
found = [torch.cuda.get_device_properties(at) for at in range(torch.cuda.device_count())]
print(json.dumps({
    "devices": [{"name": one.name, "memory_bytes": one.total_memory} for one in found],
    "bf16": bool(found) and torch.cuda.is_bf16_supported(),
    "cpu_bf16": any(getattr(torch.cpu, "get_capabilities", dict)().get(name) for name in ("avx512_bf16", "amx_bf16")),
    "cuda": torch.version.cuda,
    "threads": torch.get_num_threads(),
}))
"""
TRANSFORMERS = "from transformers import XLMRobertaModel"
TORCHVISION = """
import importlib.util
if importlib.util.find_spec("torchvision") is not None:
    import torchvision
    print(torchvision.__version__)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked; `fix` says what to do if it is broken."""

    subject: str
    state: State
    text: str
    fix: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The numbers and names in `text`."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a process printed, or the last line of its error output."""

    succeeded: bool
    text: str


def examine(store: Path, *, online: bool = False) -> tuple[Finding, ...]:
    """The results of all checks, in reading order; leaves nothing behind in `store`.

    `online`: also check whether the Hugging Face Hub answers.
    """
    with ThreadPoolExecutor() as together:
        torch, transformers, torchvision = together.map(_try, (TORCH, TRANSFORMERS, TORCHVISION))
    return (
        _versions(),
        *_devices(torch),
        _torchvision(torchvision),
        _transformers(transformers, torchvision),
        _disk(store),
        _cache(store),
        _hub() if online else Finding("Hugging Face Hub", "ok", "not tested; --online tests it"),
    )


def _try(code: str) -> Tried:
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)  # noqa: S603  our own code
    except subprocess.TimeoutExpired:
        return Tried(False, f"no answer after {PATIENCE_SECONDS:.0f} s")
    if done.returncode == 0:
        return Tried(True, done.stdout.strip())
    complaint = done.stderr.strip().splitlines()
    return Tried(False, complaint[-1] if complaint else f"ended with status {done.returncode}")


def _versions() -> Finding:
    found = {"viaduct": viaduct.__version__, "python": platform.python_version()}
    absent = []
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    text, facts = ", ".join(f"{name} {version}" for name, version in found.items()), {"versions": found}
    if absent:
        absence = f"{text}; not installed: {', '.join(absent)}"
        return Finding("versions", "broken", absence, "reinstall Viaduct", facts)
    return Finding("versions", "ok", text, facts=facts)


def _devices(torch: Tried) -> Iterator[Finding]:
    facts: dict[str, Any] = {"usable_cores": usable_cores(), "cores": os.cpu_count()}
    cores = f"{facts['usable_cores']} of {facts['cores']} cores may be used"
    if not torch.succeeded:
        yield Finding("cores", "ok", cores, facts=facts)
        yield Finding("torch", "broken", f"cannot be imported: {torch.text}", "reinstall it, as constraints.txt says")
        return
    found = json.loads(torch.text)
    half = "; with bfloat16, which training uses where a recipe sets `precision`" if found["cpu_bf16"] else ""
    facts |= {"torch_threads": found["threads"], "bfloat16": found["cpu_bf16"]}
    yield Finding("cores", "ok", f"{cores}; torch by default uses {found['threads']} threads{half}", facts=facts)
    for at, one in enumerate(found["devices"]):
        size = f"{one['name']}, {one['memory_bytes'] / 2**30:.0f} GiB"
        text = f"{size}, {'with' if found['bf16'] else 'without'} bfloat16"
        yield Finding(f"device {at}", "ok", text, facts={**one, "bfloat16": found["bf16"]})
    if not found["devices"] and found["cuda"]:
        yield Finding(
            "device", "note", f"torch is built for CUDA {found['cuda']} and finds no GPU: everything runs on the CPU"
        )
    elif not found["devices"]:
        yield Finding("device", "ok", "the CPU; this torch is built without CUDA")
    yield _allocator(trains_here=not found["devices"])


def _allocator(*, trains_here: bool) -> Finding:
    """Whose `malloc` processes here use: with the C library's, training on CPUs loses time in it (docs/scaling.md)."""
    here = ctypes.CDLL(None)
    name = next((name for name, function in ALLOCATORS.items() if hasattr(here, function)), "the C library")
    slower = trains_here and name not in ALLOCATORS
    advice = "; trainings on CPUs are faster with jemalloc (docs/scaling.md)" if slower else ""
    return Finding("memory", "ok", f"allocated by {name}{advice}", facts={"allocator": name})


def _torchvision(tried: Tried) -> Finding:
    if tried.succeeded:
        return Finding("torchvision", "ok", f"{tried.text or 'not installed'}; nothing here needs it")
    return Finding(
        "torchvision",
        "broken",
        f"is installed and cannot be imported ({tried.text}); transformers then cannot import even XLM-RoBERTa",
        "pip uninstall torchvision (nothing here needs it)",
    )


def _transformers(tried: Tried, torchvision: Tried) -> Finding:
    if tried.succeeded:
        return Finding("transformers", "ok", "imports XLM-RoBERTa")
    cause = "reinstall it, as constraints.txt says" if torchvision.succeeded else "fix torchvision first"
    return Finding("transformers", "broken", f"cannot import XLM-RoBERTa: {tried.text}", cause)


def _disk(store: Path) -> Finding:
    free = free_bytes(store)
    text, facts = f"{free / 1e9:.1f} GB free for the store {store}", {"free_bytes": free, "store": store}
    if free < LEAST_BYTES:
        return Finding("disk", "broken", text, "make room, or name a --store on another disk", facts)
    return Finding("disk", "ok", text, facts=facts)


def _cache(store: Path) -> Finding:
    cache = cache_directory(store)
    try:
        with tempfile.TemporaryFile(dir=existing_folder(cache)) as file:
            file.write(b"?")
    except OSError as error:
        return Finding("cache", "broken", f"{cache} cannot be written: {error.strerror}", "name another --store")
    return Finding("cache", "ok", f"{cache} can be written")


def _hub() -> Finding:
    from huggingface_hub.constants import ENDPOINT

    try:
        with urllib.request.urlopen(urllib.request.Request(ENDPOINT, method="HEAD"), timeout=10):  # noqa: S310  https
            return Finding("Hugging Face Hub", "ok", f"{ENDPOINT} answers")
    except OSError as error:
        fix = "connect to the network, or place models and data sets in local folders"
        return Finding("Hugging Face Hub", "broken", f"{ENDPOINT} does not answer: {error}", fix)
