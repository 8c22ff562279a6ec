"""Implementation of the Compress stage: an encoder with fewer layers, or only the vocabulary that some texts use.

Nothing is trained. The result opens with AutoModel and AutoTokenizer, and can be trained like any other encoder.

Shape letters: V pieces of the whole vocabulary, K pieces kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from viaduct.encode.tokens import TOKENISED_ROWS, Array
from viaduct.errors import UsageError
from viaduct.models.encoder import (
    load_encoder,
    load_tokenizer,
    num_layers,
    save_encoder,
)
from viaduct.models.layers import pick_layers
from viaduct.models.numerics import prepare
from viaduct.models.vocabulary import take_rows
from viaduct.runs.families import OFFSET_POSITIONS
from viaduct.runs.stage import Context, Spent
from viaduct.serving.compress import CompressWork
from viaduct.serving.model import InferenceModel, LoadedModel
from viaduct.serving.pieces import keep_pieces

HELD_OUT = 10
"""Every tenth line is used to estimate how much of unseen text the pieces of the other lines cover."""

Texts = Mapping[str, Sequence[str]]
"""Name of a language or file -> its lines."""


@dataclass(frozen=True)
class KeptVocabulary:
    """How many pieces were kept, for which lines, and how well they cover unseen text."""

    pieces: int
    of: int
    lines: Mapping[str, int]
    """Name of a language or file -> number of lines whose pieces were kept."""
    coverage: Mapping[str, float | None]
    """The share of tokens in every tenth line whose pieces also occur in the other lines (of all names): what to expect
    of unseen text. None for fewer than ten lines."""


def run(context: Context, work: CompressWork) -> Spent:
    """Write `encoder/` and `compression.json` to the stage's directory.

    Raises UsageError if a new padding id would shift the positions, which RoBERTa-like models number from it.
    """
    prepare("cpu", context.threads)
    encoder = load_encoder(context.start, context.revision)
    source = LoadedModel(InferenceModel(encoder, None).eval(), None, load_tokenizer(context.start, context.revision))
    about: dict[str, Any] = {"layers_before": num_layers(encoder), "vocabulary": None}
    if work.layers is not None:
        pick_layers(encoder, range(1, work.layers + 1))
    if work.vocabulary:
        context.progress(0, 1, "finding the pieces in use")
        padding = source.config.pad_token_id
        source, kept = trimmed(source, _texts(context, work))
        renumber(source.config, source.tokenizer)
        if source.config.model_type in OFFSET_POSITIONS and source.config.pad_token_id != padding:
            raise UsageError(
                f"the padding token would get the id {source.config.pad_token_id} instead of {padding}, and"
                " positions are numbered from it",
                fix="leave out `vocabulary`",
            )
        about["vocabulary"] = asdict(kept)
    about["layers"] = num_layers(encoder)
    save_encoder(encoder, source.tokenizer, context.directory / "encoder")
    text = json.dumps(about, indent=1) + "\n"
    (context.directory / "compression.json").write_text(text, encoding="utf-8")
    return Spent()


def _texts(context: Context, work: CompressWork) -> Texts:
    """Language -> its lines in all cards that have it."""
    return {
        code: [
            row.texts[0]
            for name in work.text
            if code in context.task(name).languages
            for row in context.load(name, "train", code).rows
        ]
        for code in work.vocabulary
    }


def trimmed(source: LoadedModel, texts: Texts) -> tuple[LoadedModel, KeptVocabulary]:
    """The model trimmed to the pieces that these texts use (changed in place), and what was kept.

    Its outputs stay the same for every text whose pieces were kept; that all of the given texts still give the same
    tokens is checked here. Raises UsageError for a tokenizer that cannot be trimmed exactly.
    """
    tokenizer = source.tokenizer
    seen = {name: _seen(lines, tokenizer) for name, lines in texts.items()}
    used_V = np.any([counts_2V.any(axis=0) for counts_2V in seen.values()], axis=0)
    kept = keep_pieces(tokenizer, np.flatnonzero(used_V))
    for name, lines in texts.items():
        _check(name, lines, tokenizer, kept.tokenizer, kept.ids_K)
    take_rows(source.model.encoder, kept.ids_K)
    source.config.vocab_size = len(kept.ids_K)
    part = KeptVocabulary(
        pieces=len(kept.ids_K),
        of=len(tokenizer),
        lines={name: len(lines) for name, lines in texts.items()},
        coverage=_coverage(seen),
    )
    return replace(source, tokenizer=kept.tokenizer), part


def renumber(config: Any, tokenizer: Any) -> None:
    """Set the ids of the configuration's special tokens to those of the tokenizer."""
    for role in ("pad", "bos", "eos", "cls", "sep", "mask"):
        name = f"{role}_token_id"
        if getattr(config, name, None) is not None and getattr(tokenizer, name, None) is not None:
            setattr(config, name, getattr(tokenizer, name))


def _seen(lines: Sequence[str], tokenizer: Any) -> Array:
    """(2, V) int64: how often each piece occurs in the held-out lines, and in the others."""
    counts_2V = np.zeros((2, 1 + max(tokenizer.get_vocab().values())), dtype=np.int64)
    for at in range(0, len(lines), TOKENISED_ROWS):
        encoded = tokenizer(list(lines[at : at + TOKENISED_ROWS]), verbose=False)["input_ids"]
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
    """Raise ValueError for a line that the trimmed tokenizer splits into different tokens."""
    for at in range(0, len(lines), TOKENISED_ROWS):
        chunk = list(lines[at : at + TOKENISED_ROWS])
        expected, found = whole(chunk, verbose=False)["input_ids"], part(chunk, verbose=False)["input_ids"]
        for line, ids, new in zip(chunk, expected, found, strict=True):
            if ids_K[new].tolist() != ids:
                raise ValueError(f"{name}: the trimmed tokenizer splits this text differently: {line[:80]!r}")
