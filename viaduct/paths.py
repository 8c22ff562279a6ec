"""Where data and results live; the only reader of environment variables, so that nothing else guesses a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def default_data() -> Path:
    """The data folder: `VIADUCT_DATA` if set, else `./data`."""
    return Path(os.environ.get("VIADUCT_DATA") or "data")


def default_store() -> Path:
    """The store of results: `VIADUCT_STORE` if set, else `./store`."""
    return Path(os.environ.get("VIADUCT_STORE") or "store")


def default_rows() -> Path:
    """The committed rows: `VIADUCT_ROWS` if set, else `./results`."""
    return Path(os.environ.get("VIADUCT_ROWS") or "results")


def default_mirrors() -> tuple[str, ...]:
    """Where publishers' files are fetched from instead of their own servers: `VIADUCT_MIRROR`, several with blanks
    between; see `viaduct fetch --mirror`."""
    return tuple(os.environ.get("VIADUCT_MIRROR", "").split())


def run_directory(store: Path, recipe: str) -> Path:
    """Where the records and the report of a recipe's runs live."""
    return store / "runs" / recipe


def cache_directory(store: Path) -> Path:
    """Derived data that stages share, safe to delete at any time when nothing runs."""
    return store / "cache"


def planning_cache(store: Path) -> Path | None:
    """What planning remembers of files' content: in the store where it is there, else in the user's own cache
    (`VIADUCT_CACHE`, or `viaduct` below `XDG_CACHE_HOME` or `~/.cache`), None where that cannot be written."""
    if store.is_dir():
        return cache_directory(store)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    own = Path(os.environ.get("VIADUCT_CACHE") or Path(caches, "viaduct"))
    return own if os.access(existing_folder(own), os.W_OK) else None


def existing_folder(path: Path) -> Path:
    """The path itself if it is there, else the nearest of its parents that is."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())


def free_bytes(path: Path) -> int:
    """Free room on the disk where this path is or would be made."""
    return shutil.disk_usage(existing_folder(path)).free


RESERVED = ("runs", "cache")
"""Names below the store that no encoder may have."""
