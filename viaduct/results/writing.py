"""Writes files so that a reader never sees a partial one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from viaduct.results.checksums import flush


def write_atomic(path: Path, content: str | bytes, *, lasting: bool = True, make_folder: bool = True) -> None:
    """Write a file so that a reader sees the old or the new content, never a part of it. If `lasting`, this holds even
    after a power failure; without it, writing is faster."""
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if lasting:
        flush(path.parent)


def canonical(value: object) -> str:
    """JSON text with sorted keys and one final newline: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
