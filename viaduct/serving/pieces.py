"""A tokenizer with part of its pieces: every text whose pieces were kept gives the same tokens, under new ids.

Why this is exact. Unigram takes the segmentation with the highest sum of scores: the remaining candidates include the
winner, and it still wins, provided that the unknown piece costs the same (its cost is the lowest score minus 10, so a
piece with that score is kept). BPE joins pairs in the order of its merges: with all merges that can lead to a kept
piece, each step finds the same pair as before. WordPiece is refused: a word that its pieces cannot complete is unknown
as a whole, and with fewer pieces it might be completed in another way.

Shape letters: K pieces kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viaduct.encode.tokens import Array, forget_truncation
from viaduct.errors import UsageError


@dataclass(frozen=True)
class Kept:
    """A trimmed tokenizer, and which pieces of the whole one it has."""

    tokenizer: Any
    ids_K: Array
    """Old ids, int64, ascending; the new id of a piece is its index here."""


def keep_pieces(tokenizer: Any, used: Iterable[int]) -> Kept:
    """The tokenizer with these piece ids, its added tokens, and the pieces that are needed to form them.

    Raises UsageError for a kind of tokenizer whose output could change on texts whose pieces were kept.
    """
    forget_truncation(tokenizer)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    added = {token["id"] for token in state["added_tokens"]}
    ids = np.array(sorted(_needed(model, {*map(int, used), *added})), dtype=np.int64)
    new_of_old = {int(old): new for new, old in enumerate(ids)}
    _TRIMMERS[model["type"]](model, new_of_old)
    for token in state["added_tokens"]:
        token["id"] = new_of_old[token["id"]]
    _renumber(state["post_processor"], new_of_old)
    return Kept(_wrapped(tokenizer, state), ids)


def _needed(model: Mapping[str, Any], wanted: set[int]) -> set[int]:
    """The requested ids and all others that the model needs with them."""
    kind = model["type"]
    if kind == "Unigram":
        return _needed_by_unigram(model, wanted)
    if kind == "BPE" and not model["continuing_subword_prefix"]:
        return _needed_by_bpe(model, wanted)
    reason = {
        "WordPiece": "a word that is unknown to the whole vocabulary could be known to a part of it",
        "BPE": "its pieces are written with a prefix inside words, which trimming does not support",
    }.get(kind, "trimming supports Unigram and BPE only")
    raise UsageError(
        f"the vocabulary of this {kind} tokenizer cannot be trimmed exactly: {reason}", fix="leave out --languages"
    )


def _needed_by_unigram(model: Mapping[str, Any], wanted: set[int]) -> set[int]:
    vocabulary = model["vocab"]
    lowest = min(range(len(vocabulary)), key=lambda at: vocabulary[at][1])
    needed = {*wanted, lowest}
    if model["unk_id"] is not None:
        needed.add(model["unk_id"])
    if model["byte_fallback"]:
        needed |= {at for at, (piece, _) in enumerate(vocabulary) if piece in BYTE_PIECES}
    return needed


def _needed_by_bpe(model: Mapping[str, Any], wanted: set[int]) -> set[int]:
    vocabulary = model["vocab"]
    parts: dict[str, list[tuple[str, str]]] = {}
    for left, right in model["merges"]:
        parts.setdefault(left + right, []).append((left, right))
    names = {number: piece for piece, number in vocabulary.items()}
    waiting = [names[number] for number in wanted if number in names]
    if model["unk_token"] is not None:
        waiting.append(model["unk_token"])
    else:  # there is no unknown token, so the whole alphabet is kept
        waiting += [piece for piece in vocabulary if len(piece) == 1]
    if model["byte_fallback"]:
        waiting += [piece for piece in vocabulary if piece in BYTE_PIECES]
    needed: set[str] = set()
    while waiting:
        piece = waiting.pop()
        if piece not in needed:
            needed.add(piece)
            waiting.extend(part for pair in parts.get(piece, ()) for part in pair)
    return wanted | {vocabulary[piece] for piece in needed}


def _trim_unigram(model: dict[str, Any], new_of_old: Mapping[int, int]) -> None:
    model["vocab"] = [entry for at, entry in enumerate(model["vocab"]) if at in new_of_old]
    if model["unk_id"] is not None:
        model["unk_id"] = new_of_old[model["unk_id"]]


def _trim_bpe(model: dict[str, Any], new_of_old: Mapping[int, int]) -> None:
    kept = {piece: new_of_old[old] for piece, old in model["vocab"].items() if old in new_of_old}
    model["vocab"] = kept
    model["merges"] = [
        pair for pair in model["merges"] if pair[0] in kept and pair[1] in kept and pair[0] + pair[1] in kept
    ]


_TRIMMERS: Mapping[str, Callable[[dict[str, Any], Mapping[int, int]], None]] = {
    "Unigram": _trim_unigram,
    "BPE": _trim_bpe,
}

BYTE_PIECES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
"""Pieces that spell an unknown character in tokenizers with byte fallback."""


def _renumber(processor: dict[str, Any] | None, new_of_old: Mapping[int, int]) -> None:
    """Give the special tokens of a post-processor their new ids."""
    kind = None if processor is None else processor["type"]
    if processor is None or kind == "ByteLevel":
        return
    if kind == "Sequence":
        for part in processor["processors"]:
            _renumber(part, new_of_old)
    elif kind == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new_of_old[old] for old in token["ids"]]
    elif kind in ("RobertaProcessing", "BertProcessing"):
        for end in ("sep", "cls"):
            processor[end][1] = new_of_old[processor[end][1]]
    else:
        raise UsageError(
            f"the tokenizer adds its special tokens in a way that trimming does not support ({kind})",
            fix="leave out --languages",
        )


def _wrapped(tokenizer: Any, state: dict[str, Any]) -> Any:
    """A transformers tokenizer with this state, of the class that is read from tokenizer.json unchanged."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
