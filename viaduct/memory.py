"""Memory of this process: returning freed memory, measuring the peak since a moment, and settings to make runs fit."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Fitting:
    """How a run's training stages fit its devices; none of these settings is part of a stage's identity."""

    micro_batch_tokens: int | None = None
    """Batches with more tokens (padding included) are computed in parts of about this many, with the same result."""
    gradient_checkpointing: bool = False
    """Whether activations are recomputed in the backward pass instead of being kept."""
    devices: int = 1
    """The number of devices that share the parts of each training batch."""


WHOLE = Fitting()


@cache
def trimmer() -> Callable[[int], object] | None:
    """glibc's `malloc_trim`; None if the C library has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None


def begin_afresh() -> None:
    """Return freed memory that the allocator kept to the system, and let `peak_bytes` count from here on (Linux).

    Called before each stage: memory used by the previous stage is useless to this one and not part of its peak, and
    stages with many different shapes would fragment memory further each time.
    """
    if trim := trimmer():
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def machine_bytes() -> int:
    """The total memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_bytes() -> int:
    """The most memory this process has held since `begin_afresh`; on systems other than Linux since its start.

    `getrusage` is only a fallback: it reports the parent process's peak if that was larger at the start.
    """
    about = Path("/proc/self/status")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    import resource  # only available on Unix

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
