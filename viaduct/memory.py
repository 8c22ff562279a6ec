"""What this process holds: giving freed memory back, the most it held since a moment, and how a training is to fit."""

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
    """How a run's trainings fit its devices; none of it is identity."""

    micro_batch_tokens: int | None = None
    """Batches with more tokens, padding included, are computed in parts of about so many, with the same result."""
    gradient_checkpointing: bool = False
    """Layers are computed once more backwards instead of kept."""
    devices: int = 1
    """Among which the parts of a training's batches are shared."""


WHOLE = Fitting()


@cache
def trimmer() -> Callable[[int], object] | None:
    """glibc's `malloc_trim`; None where the C library has none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None


def begin_afresh() -> None:
    """Give freed memory that was kept back to the system, and let `peak_bytes` count from here on (Linux).

    Called before each stage: what the one before it needed is of no use to it and not its own peak, and stages of many
    shapes would leave more holes with each.
    """
    if trim := trimmer():
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def machine_bytes() -> int:
    """All memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_bytes() -> int:
    """The most memory this process held since `begin_afresh`; elsewhere than on Linux since its start.

    `getrusage` only where nothing else tells: it names the parent process's peak when that was larger at the start.
    """
    about = Path("/proc/self/status")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    import resource  # no other system than those of Unix has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
