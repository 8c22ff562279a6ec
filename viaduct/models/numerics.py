"""Seeds, determinism, devices and number formats: the one place that sets them."""

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
"""glibc's names for: free memory above which the heap shrinks (-1: never), and blocks mapped apart from the heap."""

GROWTH_BYTES = 2**30
"""How much a training may grow before holes in its memory are given back."""

SOON_STEPS = 2
"""Steps in which holes do not pile up."""


def prepare(device: str, threads: int) -> torch.device:
    """The torch device, with threads, memory and deterministic algorithms set. Raises UsageError for a device that is
    not there."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads > 1 else "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Torch would fill every new tensor with NaN, to find code that reads what it never wrote: percents of each step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no CUDA device", fix="use --device cpu")
    return torch.device(device)


def keep_freed_memory() -> bool:
    """Whether this process now reuses the memory it frees; False where the C library is not glibc.

    glibc maps large blocks anew at every allocation and unmaps them when freed, so that each step of a training would
    have all pages of its tensors zeroed again by the kernel (up to a tenth of the time).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # M_MMAP_MAX 0: large blocks come from the heap too. M_TRIM_THRESHOLD -1: the heap's end is never handed back. So
    # what is freed is kept for the next step; `FreedMemory` gives back what no later step can use.
    never_map, never_trim = mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1)
    return bool(never_map and never_trim)


class FreedMemory:
    """Keeps a long loop's freed memory from piling up.

    Batches of ever new shapes leave holes between blocks that no later tensor fits into: without this, 6,000 steps of
    pretraining a 9-million-parameter encoder held 17 GB, with it 2.4. What one step needs must not be taken for holes,
    or the kernel would zero all of it again in the next: 5 of 12 seconds of a step of XLM-R base with its vocabulary.
    """

    def __init__(self) -> None:
        self._trim = trimmer()
        self._need = 0
        self._steps = 0

    def bound(self) -> None:
        """Give holes back to the system when the process holds a quarter and `GROWTH_BYTES` more than a step needs.

        Called after every step; what a step needs is what the process holds in the first steps, and in the first ones
        after holes went back."""
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
    """Memory that this process holds now, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def training_precision(asked: str, device: torch.device) -> str:
    """ "fp32", "bf16" or "fp16", the format of products in training: the one that is asked for; with "auto", on GPUs
    the quick one that they have.

    Not on CPUs: in bfloat16 some train wide encoders up to twice as fast, but the comparison of scores (docs/log.md,
    `benchmarks/precision.py`) is too coarse to say that none is half a point worse.
    """
    return quick_format(device) if asked == "auto" else asked


def quick_format(device: torch.device) -> str:
    """The format of products that a GPU has units for beside float32: bfloat16 since Ampere (earlier ones imitate it
    slowly), float16 on Volta and Turing (V100, T4); "fp32" on earlier ones and on CPUs."""
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
    """Each tensor on the CPU, beside what belongs to it, in their order. From a GPU one is copied while the next is
    computed, so that neither what made it nor what reads it keeps the GPU waiting."""
    last: tuple[T, torch.Tensor, torch.cuda.Event] | None = None
    for about, tensor in computed:
        if tensor.device.type == "cpu":
            yield about, tensor
            continue
        copied = tensor.to("cpu", non_blocking=True)  # its memory is pinned
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
    """A 63-bit seed from these parts: unrelated streams for unrelated uses, the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(*parts: int | str) -> None:
    """Seed torch's generators. Called before every optimiser step, so that a resumed run needs no generator state."""
    torch.manual_seed(derived_seed(*parts))


NO_NUMBERS = "look at the model: its weights may be damaged, or its training may have gone wrong (too high a rate)"


def require_finite(values: torch.Tensor, what: str, name: Callable[[int], str]) -> None:
    """Raise NumbersError where not all values are finite: which `what` of which of them, in the first axis, by `name`.

    Called where numbers become results (labels, answers, neighbours): of NaN any one is the largest.
    """
    wrong = ~values.isfinite()
    if bool(wrong.any()):
        first = int(wrong.reshape(len(values), -1).any(dim=1).nonzero()[0, 0])
        shown = float(values[first][wrong[first]].flatten()[0])
        raise NumbersError(f"the {what} of {name(first)} is no finite number but {shown}", fix=NO_NUMBERS)


def finite(value: float, what: str, fix: str = NO_NUMBERS) -> float:
    """The value. Raises NumbersError where it is no finite number."""
    if not math.isfinite(value):
        raise NumbersError(f"{what} is no finite number but {value}", fix=fix)
    return value
