"""The one operating system Viaduct supports: it relies on its locks, forks, signals, and memory figures in /proc."""

from __future__ import annotations

import sys

from viaduct.errors import UsageError

NAMES = {"darwin": "macOS", "win32": "Windows"}


def require_linux() -> None:
    """Raise UsageError on any system but Linux: nothing is tested there, and parts of Viaduct could not work."""
    if not sys.platform.startswith("linux"):
        raise UsageError(
            f"Viaduct runs on Linux, and this is {NAMES.get(sys.platform, sys.platform)}",
            fix="use it in a Linux container (Docker, Podman) or a virtual machine; on Windows, in WSL 2",
        )
