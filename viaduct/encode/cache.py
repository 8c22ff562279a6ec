"""Tokenised rows, computed once and memory-mapped afterwards.

The key is the content: rows, their encoding, tokenizer, labels and limits. An entry is complete or absent: it is
written next to its final place and renamed. A damaged entry is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.encode.tokens import Encoded, Encoding, Limits, encode, forget_truncation
from viaduct.results.checksums import damaged, seal
from viaduct.results.working import working_folder
from viaduct.rows import Row

CACHE_FORMAT = 4
"""Bump this when the meaning of the arrays changes, so that older entries are not read."""

TOKENIZER_SETTINGS = (
    "special_tokens_map",
    "truncation_side",
    "padding_side",
    "model_input_names",
    "split_special_tokens",
)
"""Attributes that affect a tokenizer in addition to the state of its backend."""

TOKENIZER_PACKAGES = ("tokenizers", "transformers")
"""Packages whose versions may tokenise the same text differently."""


def tokenizer_key(tokenizer: Any) -> str:
    """SHA-256 of everything that determines the tokenizer's output."""
    forget_truncation(tokenizer)
    settings = {name: getattr(tokenizer, name, None) for name in TOKENIZER_SETTINGS}
    settings |= {"class": type(tokenizer).__qualname__, "versions": [version(name) for name in TOKENIZER_PACKAGES]}
    state = tokenizer.backend_tokenizer.to_str() + json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(state.encode()).hexdigest()


def rows_key(rows: Sequence[Row]) -> str:
    """SHA-256 of the rows' content."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def cached(
    rows: Sequence[Row], encoding: Encoding, tokenizer: Any, labels: Sequence[str], limits: Limits, cache: Path
) -> Encoded:
    """`encode(...)`, read from `cache` if present, else computed and stored there."""
    way = f"{encoding.__module__}.{encoding.__qualname__}"
    identity = [CACHE_FORMAT, way, rows_key(rows), tokenizer_key(tokenizer), list(labels), asdict(limits)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    place = cache / "tokens" / key
    if damaged(place):
        shutil.rmtree(place, ignore_errors=True)
    if not place.is_dir():
        write_tokens(encode(rows, encoding, tokenizer, labels, limits), place)
    return read_tokens(place)


def write_tokens(encoded: Encoded, place: Path) -> None:
    """Write the arrays to a new folder of this name, unless another process has done so."""
    arrays = {"ids": encoded.ids, "offsets": encoded.offsets, "groups": encoded.groups, "rows": encoded.rows}
    arrays |= {f"field-{name}": values for name, values in encoded.fields.items()}
    with working_folder(place.parent) as unfinished:
        for name, values in arrays.items():
            np.save(unfinished / f"{name}.npy", values)
        (unfinished / "about.json").write_text(json.dumps({"cut_tokens": encoded.cut_tokens}), encoding="utf-8")
        seal(unfinished)
        with contextlib.suppress(OSError):  # another process was first
            os.replace(unfinished, place)  # noqa: PTH105


def read_tokens(place: Path) -> Encoded:
    """The arrays that `write_tokens` wrote there, memory-mapped."""

    def array(name: str) -> np.ndarray[Any, np.dtype[Any]]:
        path = place / f"{name}.npy"
        loaded: np.ndarray[Any, np.dtype[Any]] = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded

    fields = {path.stem.removeprefix("field-"): array(path.stem) for path in sorted(place.glob("field-*.npy"))}
    about = json.loads((place / "about.json").read_text(encoding="utf-8"))
    return Encoded(
        array("ids"), array("offsets"), array("groups"), array("rows"), fields, cut_tokens=about["cut_tokens"]
    )
