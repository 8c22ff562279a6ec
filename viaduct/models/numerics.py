"""Seeds, determinism, devices and number formats: the only place that sets them."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from viaduct.errors import NumbersError, UsageError
from viaduct.memory import trimmer

T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's parameters for the free memory above which the heap shrinks (-1: never), and for the number of blocks mapped
outside the heap."""

GROWTH_BYTES = 2**30
"""How much a training run's memory may grow before unused gaps in it are returned."""

SOON_STEPS = 2
"""Number of steps in which gaps do not accumulate."""


def prepare(device: str, threads: int) -> torch.device:
    """Configure threads, memory and deterministic algorithms, and return the torch device. Raises UsageError for
    "cuda" if torch sees no CUDA device."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads > 1 else "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Torch would fill every new tensor with NaN, to find reads of uninitialised memory: several percent of each step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was requested, but torch sees no CUDA device", fix="use --device cpu")
    return torch.device(device)


def keep_freed_memory() -> bool:
    """Let this process reuse the memory it frees; returns whether it does (not if the C library is not glibc).

    By default, glibc maps large blocks at every allocation and unmaps them when freed, so that in each training step
    the kernel would have to zero all pages of its tensors again (up to a tenth of the time).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # M_MMAP_MAX 0: large blocks come from the heap too. M_TRIM_THRESHOLD -1: the end of the heap is never returned. So
    # freed memory is kept for the next step; `FreedMemory` returns what no later step can use.
    never_map, never_trim = mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1)
    return bool(never_map and never_trim)


class FreedMemory:
    """Keeps freed memory from accumulating in a long loop.

    Batches with ever new shapes leave gaps between blocks that no later tensor fits into: without this, 6,000 steps of
    pretraining a 9-million-parameter encoder held 17 GB, with it 2.4 GB. Memory that a step needs must not be returned,
    or the kernel would zero all of it again in the next: 5 of 12 seconds of a step of XLM-R base with its vocabulary.
    """

    def __init__(self) -> None:
        self._trim = trimmer()
        self._need = 0
        self._steps = 0

    def bound(self) -> None:
        """Return gaps to the system if the process holds over a quarter and over `GROWTH_BYTES` more than a step needs.

        Called after every step. The need of a step is measured as what the process holds in the first steps, and in the
        first ones after each time that gaps were returned."""
        if self._trim is None:
            return
        self._steps += 1
        held = resident_bytes()
        if self._steps <= SOON_STEPS:
            self._need = max(self._need, held)
        elif held > self._need + max(GROWTH_BYTES, self._need // 4):
            self._trim(0)
            self._steps = 0


def resident_bytes() -> int:
    """The memory that this process holds now, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def training_precision(asked: str, device: torch.device) -> str:
    """The format of products in training, "fp32", "bf16" or "fp16": the requested one; for "auto", the GPU's fast one.

    On CPUs, "auto" means "fp32": with bfloat16 some train wide encoders up to twice as fast, but the comparison of
    scores (docs/log.md, `benchmarks/precision.py`) is too coarse to exclude that some are half a point worse.
    """
    return quick_format(device) if asked == "auto" else asked


def quick_format(device: torch.device) -> str:
    """The fast format of products that a GPU has besides float32: bfloat16 since Ampere (earlier GPUs emulate it
    slowly), float16 on Volta and Turing (V100, T4); "fp32" on earlier GPUs and on CPUs."""
    if device.type != "cuda":
        return "fp32"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"


def products_in(precision: str, device: torch.device) -> torch.autocast:
    """A context in which matrix products are computed in this precision ("fp32", "bf16" or "fp16")."""
    format = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, format, enabled=precision != "fp32")


def fetched(computed: Iterable[tuple[T, torch.Tensor]]) -> Iterator[tuple[T, torch.Tensor]]:
    """The same pairs with each tensor on the CPU, in order. A GPU tensor is copied while the next one is computed, so
    that neither its producer nor its consumer keeps the GPU waiting."""
    last: tuple[T, torch.Tensor, torch.cuda.Event] | None = None
    for about, tensor in computed:
        if tensor.device.type == "cpu":
            yield about, tensor
            continue
        copied = tensor.to("cpu", non_blocking=True)  # into pinned memory
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record()
        if last is not None:
            last[2].synchronize()
            yield last[0], last[1]
        last = about, copied, done
    if last is not None:
        last[2].synchronize()
        yield last[0], last[1]


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed derived from these parts: independent streams for different uses, the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(*parts: int | str) -> None:
    """Seed torch's generators. Called before every optimiser step, so that a resumed run needs no generator state."""
    torch.manual_seed(derived_seed(*parts))


NO_NUMBERS = "check the model: its weights may be damaged, or its training may have failed (learning rate too high)"


def require_finite(values: torch.Tensor, what: str, name: Callable[[int], str]) -> None:
    """Raise NumbersError unless all values are finite. Its message says `what` the values are, and `name` gives the
    name of the first bad item along the first axis.

    Called where numbers become results (labels, answers, neighbours): a NaN would count as the largest of them.
    """
    wrong = ~values.isfinite()
    if bool(wrong.any()):
        first = int(wrong.reshape(len(values), -1).any(dim=1).nonzero()[0, 0])
        shown = float(values[first][wrong[first]].flatten()[0])
        raise NumbersError(f"the {what} of {name(first)} is no finite number but {shown}", fix=NO_NUMBERS)


def finite(value: float, what: str, fix: str = NO_NUMBERS) -> float:
    """The value itself. Raises NumbersError if it is not finite."""
    if not math.isfinite(value):
        raise NumbersError(f"{what} is no finite number but {value}", fix=fix)
    return value
