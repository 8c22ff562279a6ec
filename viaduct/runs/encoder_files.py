"""Reads the files of an encoder's folder one by one, without loading the weights: settings, and whether weights are
complete and nothing but weights."""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, TypeVar

from viaduct.errors import UsageError

Json = TypeVar("Json", dict[str, Any], list[Any])

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Weights files, in the order in which transformers looks for them."""

FLOATS = ("F64", "F32", "F16", "BF16")
"""Value types in safetensors that are used as they are."""

POINTER = b"version https://git-lfs"
LEGACY_STREAMS = 4
"""Pickles before the values in torch.save's format before version 1.6: a magic number, a version, sizes, names."""
PLAIN_OBJECTS = ("torch", "collections", "_codecs", "numpy", "builtins")
"""Modules that may appear in a file of nothing but weights."""

DOWNLOAD = "download it again"

Shapes = dict[str, tuple[int, ...]]
"""Name of a weight -> its shape."""


def require_content(path: Path) -> None:
    """Raise UsageError for a Git LFS pointer, and for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(POINTER))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", fix="check the file's permissions") from error
    if begins == POINTER:
        raise UsageError(
            f"{path} is a Git LFS pointer, not the file itself", fix="run `git lfs pull` where it was cloned"
        )


def read_json(path: Path, form: type[Json]) -> Json:
    """The object or list in a JSON file. Raises UsageError, naming the file, for anything else in it."""
    require_content(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", fix=DOWNLOAD) from error
    if not isinstance(found, form):
        raise UsageError(f"{path} is not a JSON {'object' if form is dict else 'list'}", fix=DOWNLOAD)
    return found


def known_json(path: Path | None) -> dict[str, Any]:
    """The object in a JSON file; {} if the file is missing, or damaged, which opening the encoder reports."""
    try:
        found = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def weights_file(folder: Path) -> Path | None:
    """The weights file, or the index of its parts; None if there is none."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def folder_shapes(folder: Path) -> Shapes:
    """The shapes of an encoder's weights; {} if its files do not give them without being loaded (pytorch_model.bin).

    Raises UsageError for weights that are missing, truncated or quantised, and for files with more than weights.
    """
    first = weights_file(folder)
    if first is None:
        raise UsageError(f"{folder} has no weights", fix="put model.safetensors (or pytorch_model.bin) into it")
    found: Shapes = {}
    for path in _parts(first):
        if not path.is_file():
            raise UsageError(f"{path} is missing, but {first.name} names it", fix=DOWNLOAD)
        found |= shapes_in(path)
    return found


def shapes_in(path: Path) -> Shapes:
    """The shapes of the weights in one file; {} for a pytorch_model.bin. Raises UsageError for a file that is
    truncated, quantised, or holds more than weights."""
    require_content(path)
    if path.suffix == ".safetensors":
        header = {name: entry for name, entry in safetensors_header(path).items() if name != "__metadata__"}
        for name, entry in header.items():
            if name.endswith("weight") and entry.get("dtype") not in FLOATS:
                raise UsageError(
                    f"{path}: {name} has values of type {entry.get('dtype')}, and quantised weights are not supported",
                    fix=f"use the model whose weights are of type {', '.join(FLOATS)}",
                )
        return {name: tuple(entry["shape"]) for name, entry in header.items()}
    require_only_weights(path)
    return {}


def _parts(first: Path) -> Iterable[Path]:
    if first.suffix != ".json":
        return [first]
    names = read_json(first, dict).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise UsageError(f"{first} is not an index of weights", fix=DOWNLOAD)
    return [first.parent / name for name in dict.fromkeys(names.values())]


def safetensors_header(path: Path) -> dict[str, Any]:
    """Name -> {"shape", "data_offsets", ...} of the tensors in a safetensors file (format: 8 bytes length, then JSON).

    Raises UsageError for a file that is not safetensors, or truncated.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size - 8:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        tensors = [(*entry["shape"], entry["data_offsets"][1]) for name, entry in header.items() if name[:2] != "__"]
        end = max((one[-1] for one in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UsageError(f"{path} is not a safetensors file: {error}", fix=DOWNLOAD) from error
    if size != 8 + length + end:
        raise UsageError(
            f"{path} is cut off or damaged: it has {size:,} bytes, and its header describes {8 + length + end:,}",
            fix=DOWNLOAD,
        )
    return header


def require_only_weights(path: Path) -> None:
    """Raise UsageError for a pytorch_model.bin that is truncated, or holds anything but weights; none of it is run."""
    try:
        named = list(_named(path))
    except (zipfile.BadZipFile, StopIteration, ValueError) as error:
        raise UsageError(f"{path} is cut off, or not a file of weights", fix=DOWNLOAD) from error
    strange = next((one for one in named if one.partition(".")[0] not in PLAIN_OBJECTS), None)
    if strange is not None:
        raise UsageError(
            f"{path} holds objects other than weights ({strange}), which may run code when opened",
            fix="use the model's model.safetensors, or save its state_dict alone",
        )


def _named(path: Path) -> Iterable[str]:
    """The objects that a torch.save file would look up when opened, as "module.name"."""
    streams = list(range(LEGACY_STREAMS))
    with path.open("rb") as file:
        source: IO[bytes] = file
        if file.read(2) == b"PK":
            archive = zipfile.ZipFile(path)
            source, streams = archive.open(next(one for one in archive.namelist() if one.endswith("data.pkl"))), [0]
        else:
            file.seek(0)
        strings: list[str] = []
        for _ in streams:
            for operation, value, _ in pickletools.genops(source):
                if isinstance(value, str):
                    strings.append(value)
                if operation.name == "GLOBAL":
                    yield strings[-1].replace(" ", ".")
                elif operation.name == "STACK_GLOBAL":
                    yield ".".join(strings[-2:])
