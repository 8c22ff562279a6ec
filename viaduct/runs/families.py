"""What is special about families of encoders, by the `model_type` of a config.json; each family is tested in
tests/models/test_architectures.py, from which docs/architectures.md is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROBERTA = {"xlm-roberta", "roberta", "camembert", "xlm-roberta-xl", "xmod"}
"""Families with RoBERTa's masked-LM head and positions."""

OFFSET_POSITIONS = {*ROBERTA, "mpnet"}
"""These number positions from the padding id + 1 and would derive them from the token ids."""

MPNET_PADDING = 1
"""MPNet numbers positions from 2, whatever padding id its configuration has."""

MASK_FROM_IDS = {"t5gemma", "xlm"}
"""Without a mask, these treat every padding id as padding."""

ADDS_IN_PLACE = {"deberta"}
"""These add to a linear layer's output in place, which our own linear layer does not allow in training."""

ENCODER_SIDES = {"t5", "mt5", "umt5", "t5gemma"}
"""Encoder-decoders whose encoder can be used alone."""

STACKS = {
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "electra",
    "ernie",
    "mpnet",
    "rembert",
    "roberta",
    "xlm-roberta",
}
"""Families whose last state is that of the last layer of `encoder.layer`, whichever that is."""

WHOLE_MASKS = {"bert", "camembert", "electra", "roberta", "xlm-roberta"}
"""These use a full attention mask (which token may attend to which) as it is."""

TRIMMED = {
    *(STACKS | ENCODER_SIDES),
    *("albert", "distilbert", "eurobert", "gte", "jina_embeddings_v3", "modernbert", "nomic_bert", "xlm"),
    "xlm-roberta-xl",
}
"""Families for which training with a part of the vocabulary is known to give the same model."""

REFUSED = {
    "canine": "reads characters and has neither a vocabulary nor a tokenizer that says where words are",
    "xmod": "has weights of each language, and rows do not tell an encoder their language",
}
"""Family -> why it is not supported."""

FIX = "name another encoder; docs/architectures.md lists what is tested"

CHANGED = {"xlm-roberta-xl": "a layer's own states"}
"""Family -> marker in the identities of its results since they changed: before that, a layer below the last one was
read through the norm that follows the last."""

SIZES = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers"),
    "width": ("hidden_size", "emb_dim", "d_model", "dim"),
    "feed_forward": ("intermediate_size", "d_ff", "hidden_dim"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings",),
}
"""Size -> its names in configurations."""


def encoder_side(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that is about the encoder: all of it if the encoder has no part of its own."""
    side = config.get("encoder")
    return side if isinstance(side, dict) else config


def size(config: Mapping[str, Any], name: str) -> int | None:
    """One of `SIZES` from a config.json; None if it is not given."""
    side = encoder_side(config)
    found = next((side[key] for key in SIZES[name] if key in side), None)
    return found if isinstance(found, int) else None


def first_position(model_type: str, padding: int) -> int:
    """The position number of a text's first token."""
    if model_type not in OFFSET_POSITIONS:
        return 0
    return (MPNET_PADDING if model_type == "mpnet" else padding) + 1
