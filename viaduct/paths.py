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
    """Mirrors to fetch publishers' files from instead of their own servers: `VIADUCT_MIRROR`, separated by spaces; see
    `viaduct fetch --mirror`."""
    return tuple(os.environ.get("VIADUCT_MIRROR", "").split())


def run_directory(store: Path, recipe: str) -> Path:
    """The directory with the records and the report of a recipe's runs."""
    return store / "runs" / recipe


def cache_directory(store: Path) -> Path:
    """The directory of derived data shared by stages; safe to delete whenever nothing is running."""
    return store / "cache"


def planning_cache(store: Path) -> Path | None:
    """The directory where planning caches facts about files' content: in the store if it exists, else the user's own
    cache (`VIADUCT_CACHE`, or `viaduct` below `XDG_CACHE_HOME` or `~/.cache`); None if that is not writable."""
    if store.is_dir():
        return cache_directory(store)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    own = Path(os.environ.get("VIADUCT_CACHE") or Path(caches, "viaduct"))
    return own if os.access(existing_folder(own), os.W_OK) else None


def existing_folder(path: Path) -> Path:
    """The path itself if it exists, else its nearest existing parent."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())


def is_vacant(path: Path) -> bool:
    """Whether a new folder can take this place: nothing is there, or an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def free_bytes(path: Path) -> int:
    """Free space on the disk where this path is or would be created."""
    return shutil.disk_usage(existing_folder(path)).free


RESERVED = ("runs", "cache")
"""Names below the store that an encoder must not have."""
