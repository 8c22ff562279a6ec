"""Checks of an encoder, whatever its architecture: whether it works here, which is tried before anything runs, and
whether a part of its vocabulary is enough.

Shape letters: L tokens, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import collate
from viaduct.encode.tokens import Array, Builder
from viaduct.errors import UsageError
from viaduct.models.encoder import encode_batch, load_encoder, load_tokenizer, word_embeddings
from viaduct.models.tokenizer_file import PROBES
from viaduct.models.weights_check import first_line
from viaduct.runs.encoder_check import TOKENIZER_SETTINGS
from viaduct.runs.families import FIX, TRIMMED

LANES = 8
"""Lanes in torch's sums: leaving out rows of zeros changes no sum if their width is a multiple of this."""

LENGTHS = (12, 5, 1)
"""Lengths in tokens of the texts that are tried together."""

ALIKE = 1e-3
"""Largest difference between the states of a text alone and in a batch with longer ones, relative to the largest state;
float32 leaves 1e-5."""


def require_encoder(source: str, revision: str | None) -> None:
    """Raise UsageError for an encoder or tokenizer that `load_encoder` or `load_tokenizer` refuses, and for an encoder
    that lacks an embedding for a token, cannot be run, gives a text in a batch with longer ones other states than plain
    transformers gives it alone, or reads from left to right."""
    tokenizer, encoder = load_tokenizer(source, revision), load_encoder(source, revision).eval()
    rows = len(word_embeddings(encoder))
    last = tokenizer.vocab_size - 1
    for piece, number in {tokenizer.convert_ids_to_tokens(last): last, **tokenizer.get_added_vocab()}.items():
        if number >= rows:
            raise UsageError(
                f"the tokenizer of '{source}' gives '{piece}' the id {number:,}, and the encoder has word embeddings"
                f" for {rows:,}",
                fix=f"check where it is defined: tokenizer.json, {', '.join(TOKENIZER_SETTINGS)}",
            )
    ids = np.asarray(tokenizer(PROBES[0], verbose=False)["input_ids"])
    try:
        with torch.inference_mode():
            problem = _problem(encoder, [ids[:length] for length in LENGTHS], tokenizer.pad_token_id)
    except Exception as error:  # an untested architecture may raise anything
        raise UsageError(f"the encoder '{source}' cannot be run: {first_line(error)}", fix=FIX) from error
    if problem is not None:
        raise UsageError(f"the encoder '{source}' {problem}", fix=FIX)


def whole_because(encoder: nn.Module) -> dict[str, str]:
    """{"whole_vocabulary": reason} for an encoder that must be trained with its full embedding, {} for others."""
    config: Any = encoder.config
    width = word_embeddings(encoder).shape[1]
    if width % LANES:
        return {"whole_vocabulary": f"word embeddings of {width} values: sums would be rounded otherwise"}
    if config.model_type not in TRIMMED:
        return {"whole_vocabulary": f"nobody has tried whether a part of it is enough for type '{config.model_type}'"}
    return {}


def _problem(encoder: nn.Module, texts: list[Array], pad_id: int) -> str | None:
    out = Builder()
    for text in texts:
        out.example(0, [text])
    together_BLD = encode_batch(encoder, collate(out.build(), np.arange(len(texts)), pad_id))
    alone = [_states(encoder, text) for text in texts]
    gaps = [
        float((own_LD - its_LD[: len(own_LD)]).abs().max()) for own_LD, its_LD in zip(alone, together_BLD, strict=True)
    ]
    if max(gaps) > ALIKE * float(alone[0].abs().max()):
        return f"gives a text different states when batched with a longer one (by {max(gaps):.2g})"
    changed = texts[0].copy()
    changed[-1] = changed[-1] - 1 or 2  # any other id
    if len(changed) > 1 and torch.equal(_states(encoder, changed)[0], alone[0][0]):
        return "reads from left to right: a text's first token sees no other"
    return None


def _states(encoder: nn.Module, ids: Array) -> torch.Tensor:
    """(L, D) states as plain transformers computes them."""
    states_LD: torch.Tensor = encoder(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0]
    return states_LD
