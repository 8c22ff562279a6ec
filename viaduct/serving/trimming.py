"""A model with the part of its vocabulary that some texts use: which pieces those are, and how well they cover more
text of the same languages.

Shape letters: V pieces of the whole vocabulary, K pieces kept, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.encode.tokens import CHUNK, Array
from viaduct.errors import DataError, UsageError
from viaduct.languages import language as language_of
from viaduct.models.vocabulary import trim
from viaduct.serving.model import LoadedModel
from viaduct.serving.pieces import keep_pieces
from viaduct.tasks.card import read_by_name
from viaduct.tasks.formats import text_lines

HELD_OUT = 10
"""Every tenth line tells how much of unseen text the pieces of the other lines cover."""

Texts = Mapping[str, Sequence[str]]
"""Name of a language or file -> its lines."""


@dataclass(frozen=True)
class KeptVocabulary:
    """Which pieces were kept, and why."""

    pieces: int
    of: int
    lines: Mapping[str, int]
    """Name of a language or file -> number of lines whose pieces were kept."""
    coverage: Mapping[str, float | None]
    """The share of the tokens of every tenth line whose pieces the other lines (of all names) hold too: what to expect
    of unseen text. None for fewer than ten lines."""


def gather(languages: Sequence[str], files: Sequence[Path], data: Path | None) -> dict[str, Sequence[str]]:
    """The lines of the text card in these languages, and of these plain files (one text per line).

    Raises UsageError when languages are named without a data folder, and DataError for files that are not there.
    """
    if languages and data is None:
        raise UsageError(
            "--languages needs the folder with the text of these languages",
            fix="name it with --data (it holds text/LL.txt.gz), or name files with --text",
        )
    texts: dict[str, Sequence[str]] = {}
    for code in languages:
        language_of(code)
        rows = read_by_name("text", data or Path(), code, "train").rows
        texts[code] = [row.text for row in rows]  # type: ignore[attr-defined]  # the text card's rows are sentences
    for path in files:
        if not path.is_file():
            raise DataError("there is no such text file", path=path, fix="name a file with one text per line")
        texts[path.name] = text_lines(path)
    return texts


def trimmed(source: LoadedModel, texts: Texts) -> tuple[LoadedModel, KeptVocabulary]:
    """The model with the pieces that these texts use (changed in place), and what was kept.

    Its outputs are the same for every text whose pieces were kept; that all of the given texts become the same tokens
    is checked here. Raises UsageError for a tokenizer that cannot be trimmed exactly.
    """
    tokenizer = source.tokenizer
    seen = {name: _seen(lines, tokenizer) for name, lines in texts.items()}
    used_V = np.any([counts_2V.any(axis=0) for counts_2V in seen.values()], axis=0)
    kept = keep_pieces(tokenizer, np.flatnonzero(used_V))
    for name, lines in texts.items():
        _check(name, lines, tokenizer, kept.tokenizer, kept.ids_K)
    encoder = source.model.encoder
    trim(encoder, kept.ids_K)
    encoder.config.vocab_size = len(kept.ids_K)  # type: ignore[union-attr]
    part = KeptVocabulary(
        pieces=len(kept.ids_K),
        of=len(tokenizer),
        lines={name: len(lines) for name, lines in texts.items()},
        coverage=_coverage(seen),
    )
    return replace(source, tokenizer=kept.tokenizer), part


def renumber(config: Any, tokenizer: Any) -> None:
    """Give the configuration's special tokens the ids that they have in the tokenizer."""
    for role in ("pad", "bos", "eos", "cls", "sep", "mask"):
        name = f"{role}_token_id"
        if getattr(config, name, None) is not None and getattr(tokenizer, name, None) is not None:
            setattr(config, name, getattr(tokenizer, name))


def _seen(lines: Sequence[str], tokenizer: Any) -> Array:
    """(2, V) int64: how often each piece occurs in the held-out lines, and in the others."""
    counts_2V = np.zeros((2, 1 + max(tokenizer.get_vocab().values())), dtype=np.int64)
    for at in range(0, len(lines), CHUNK):
        encoded = tokenizer(list(lines[at : at + CHUNK]), verbose=False)["input_ids"]
        for number, ids in enumerate(encoded, start=at):
            np.add.at(counts_2V[0 if number % HELD_OUT == HELD_OUT - 1 else 1], ids, 1)
    return counts_2V


def _coverage(seen: Mapping[str, Array]) -> dict[str, float | None]:
    elsewhere_V = np.any([counts_2V[1] > 0 for counts_2V in seen.values()], axis=0)
    return {
        name: float(counts_2V[0][elsewhere_V].sum() / counts_2V[0].sum()) if counts_2V[0].any() else None
        for name, counts_2V in seen.items()
    }


def _check(name: str, lines: Sequence[str], whole: Any, part: Any, ids_K: Array) -> None:
    """Raise ValueError for a line that the trimmed tokenizer does not cut into the same tokens."""
    for at in range(0, len(lines), CHUNK):
        chunk = list(lines[at : at + CHUNK])
        expected, found = whole(chunk, verbose=False)["input_ids"], part(chunk, verbose=False)["input_ids"]
        for line, ids, new in zip(chunk, expected, found, strict=True):
            if ids_K[new].tolist() != ids:
                raise ValueError(f"{name}: the trimmed tokenizer cuts this text in another way: {line[:80]!r}")
