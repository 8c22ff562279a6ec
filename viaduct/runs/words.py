"""Whether an encoder's tokenizer splits a word differently inside a text than at its start, as read from its files:
nothing above the torch line loads a tokenizer. Words of tagged rows once had no blank before them regardless of the
tokenizer, so stages that use such a tokenizer have another version."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from viaduct.runs.encoder import cached_file
from viaduct.runs.encoder_files import known_json
from viaduct.runs.stage import Stage
from viaduct.tasks.hashes import Stamp, stamp
from viaduct.tasks.kind import RowKind


def version_of(kind: RowKind, stage: Stage) -> int:
    """Version of the kind in this stage: higher if words need blanks before them, because that was once ignored."""
    return kind.version + (kind.cut_by_word and words_need_blanks(stage))


def words_need_blanks(stage: Stage) -> bool:
    """Whether words need a blank before them in the ready-made encoder that the stage, or one before it, starts from;
    False for tokenizers trained here, which treat the start of a text like that of any word."""
    while stage.encoder is None:
        if "encoder" not in stage.inputs:
            return False
        stage = stage.inputs["encoder"]
    path = cached_file(stage.encoder, stage.revision, "tokenizer.json")
    if path is None or not path.is_file():
        merges = cached_file(stage.encoder, stage.revision, "merges.txt")  # of byte-level BPE
        return merges is not None and merges.is_file()
    return _needs_blanks(path, stamp(path))


@lru_cache(maxsize=16)
def _needs_blanks(path: Path, _stamp: Stamp) -> bool:
    found = known_json(path)
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
    """The parts of a sequence, or a single part itself; nothing for anything else."""
    if not isinstance(spec, dict) or "type" not in spec:
        return
    if spec["type"] == "Sequence":
        for part in spec.get("normalizers") or spec.get("pretokenizers") or ():
            yield from _parts(part)
    else:
        yield spec
