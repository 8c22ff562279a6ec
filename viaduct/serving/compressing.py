"""What the Compress stage does: cut an encoder's upper layers off, or its vocabulary down to what some text uses.

Nothing is trained. What is left opens with AutoModel and AutoTokenizer, and is trained on as any other encoder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from viaduct.errors import UsageError
from viaduct.models.encoder import (
    OFFSET_POSITIONS,
    load_encoder,
    load_tokenizer,
    num_layers,
    pick_layers,
    save_encoder,
)
from viaduct.models.numerics import prepare
from viaduct.rows import Sentence
from viaduct.runs.stage import Context, Spent
from viaduct.serving.compress import CompressWork
from viaduct.serving.model import InferenceModel, LoadedModel
from viaduct.serving.trimming import renumber, trimmed


def run(context: Context, work: CompressWork) -> Spent:
    """Leave `encoder/` and `compression.json` in the stage's directory."""
    prepare("cpu", context.threads)
    encoder = load_encoder(context.start, context.revision)
    tokenizer = load_tokenizer(context.start, context.revision)
    source = LoadedModel(InferenceModel(encoder, None).eval(), None, tokenizer)
    about: dict[str, Any] = {"layers_before": num_layers(encoder), "vocabulary": None}
    if work.layers is not None:
        pick_layers(encoder, range(1, work.layers + 1))
    if work.vocabulary:
        context.progress(0, 1, "looking for the pieces that are used")
        source, part = trimmed(source, _texts(context, work))
        _set_special(source)
        about["vocabulary"] = asdict(part)
    about["layers"] = num_layers(encoder)
    save_encoder(encoder, source.tokenizer, context.directory / "encoder")
    text = json.dumps(about, indent=1) + "\n"
    (context.directory / "compression.json").write_text(text, encoding="utf-8")
    return Spent()


def _texts(context: Context, work: CompressWork) -> dict[str, Sequence[str]]:
    """Language -> its lines in all cards that have it."""
    found: dict[str, Sequence[str]] = {}
    for code in work.vocabulary:
        cards = [name for name in work.text if code in context.task(name).languages]
        rows = [row for name in cards for row in context.load(name, "train", code).rows]
        found[code] = [row.text for row in rows if isinstance(row, Sentence)]
    return found


def _set_special(source: LoadedModel) -> None:
    """Nothing; the encoder's configuration names the special tokens by their new ids.

    Raises UsageError where a new padding id would move the positions: RoBERTa's kin number them from it.
    """
    before = source.config.pad_token_id
    renumber(source.config, source.tokenizer)
    if source.config.model_type in OFFSET_POSITIONS and source.config.pad_token_id != before:
        raise UsageError(
            f"the padding token would have the id {source.config.pad_token_id} in place of {before}, and positions"
            " are numbered from it",
            fix="leave out `vocabulary`",
        )
