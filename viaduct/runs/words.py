"""Whether an encoder's tokenizer cuts a word inside a text otherwise than at its start, told from its files: nothing
above the torch line loads a tokenizer. Words of tagged rows once had no blank before them whatever the tokenizer, so
where this holds their stages have another version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from viaduct.runs.encoder import cached_file
from viaduct.runs.stage import Stage
from viaduct.tasks.hashes import Stamp, stamp
from viaduct.tasks.kind import RowKind


def version_of(kind: RowKind, stage: Stage) -> int:
    """Of the kind in this stage: higher where the encoder's tokenizer brings about what once was not so."""
    return kind.version + (kind.cut_by_word and words_need_blanks(stage))


def words_need_blanks(stage: Stage) -> bool:
    """Of the ready-made encoder that the stage, or the one before it, begins with; the tokenizers that are made here
    begin a text as they do a word."""
    while stage.encoder is None:
        if "encoder" not in stage.inputs:
            return False
        stage = stage.inputs["encoder"]
    path = cached_file(stage.encoder, stage.revision, "tokenizer.json")
    if path is None or not path.is_file():
        merges = cached_file(stage.encoder, stage.revision, "merges.txt")  # of byte-level pairs
        return merges is not None and merges.is_file()
    return _needs_blanks(path, stamp(path))


@lru_cache(maxsize=16)
def _needs_blanks(path: Path, _stamp: Stamp) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False  # whoever opens the tokenizer says so
    before, cutting = (list(_parts(found.get(name))) for name in ("normalizer", "pre_tokenizer"))
    if any(part["type"] == "Prepend" for part in before):
        return False
    blanks = any(part["type"] == "Replace" and part.get("pattern") == {"String": " "} for part in before)
    for part in cutting:
        if part["type"] in ("WhitespaceSplit", "Whitespace", "BertPreTokenizer"):
            return False
        if part["type"] == "ByteLevel":
            return not part.get("add_prefix_space", True)
        if part["type"] == "Metaspace":
            before_first = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            return bool(before_first == "never")
    return blanks


def _parts(spec: Any) -> Iterator[dict[str, Any]]:
    """The members of a sequence, of a single part itself, of none nothing."""
    if not isinstance(spec, dict) or "type" not in spec:
        return
    if spec["type"] == "Sequence":
        for part in spec.get("normalizers") or spec.get("pretokenizers") or ():
            yield from _parts(part)
    else:
        yield spec
