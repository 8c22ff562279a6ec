"""The one system that Viaduct runs on. What it asks of it: locks, forks, signals, and memory as /proc tells it."""

from __future__ import annotations

import sys

from viaduct.errors import UsageError

NAMES = {"darwin": "macOS", "win32": "Windows"}


def require_linux() -> None:
    """Raise UsageError on every other system: nothing is tested there, and some of it could not work."""
    if not sys.platform.startswith("linux"):
        raise UsageError(
            f"Viaduct runs on Linux, and this is {NAMES.get(sys.platform, sys.platform)}",
            fix="use it in a Linux container (Docker, Podman) or a virtual machine; on Windows, in WSL 2",
        )
