"""What a model costs, from its architecture alone: parameters, bytes, operations, and the speed that the processor's
matrix products allow. No weights are read.

Shape letters: B sequences, L tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.heads.head import HeadSpec, build_head
from viaduct.models.encoder import forward_flops, num_layers, width
from viaduct.serving.engines import is_exported, read_exported
from viaduct.serving.trained import Whole, encoder_folder
from viaduct.serving.workload import Workload

BYTES = {"fp32": 4, "bf16": 2}


def skeleton(folder: Path) -> Whole:
    """The model of a trained stage's, an encoder's or an exported folder, with shapes and no numbers."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(encoder_folder(folder))
    with torch.device("meta"):
        encoder = AutoModel.from_config(config)
        if hasattr(encoder, "pooler"):
            encoder.pooler = None
        spec = _spec(folder)
        head = None if spec is None else build_head(spec, width(encoder), 0.0)
    return Whole(encoder, head).eval()


def _spec(folder: Path) -> HeadSpec | None:
    if is_exported(folder):
        return read_exported(folder).spec
    path = folder / "head.json"
    if not path.is_file():
        return None
    about = json.loads(path.read_text(encoding="utf-8"))
    return HeadSpec(about["kind"], tuple(about["labels"]))


def cost(model: Whole, work: Workload, precision: str, flops_per_second: float) -> dict[str, Any]:
    """Plain values: size, operations per sentence overall and by language, and the ceiling in sentences per second.

    A sentence is an example: the endings of a multiple-choice row count together. `flops_per_second` is the rate of
    float32 matrix products that `probe.matrix_rate` measured; in int8 a processor may do more than that.
    """
    lengths = work.lengths
    sequences = np.diff(work.encoded.groups)
    of_example = np.repeat(np.arange(len(sequences)), sequences)
    tokens = np.bincount(of_example, weights=lengths, minlength=len(sequences))
    squares = np.bincount(of_example, weights=lengths.astype(float) ** 2, minlength=len(sequences))
    languages = np.array(work.languages)
    whole = _per_sentence(model, tokens, squares, flops_per_second)
    return {
        "layers": num_layers(model.encoder),
        "width": width(model.encoder),
        "parameters": parameters(model),
        "weight_bytes": weight_bytes(model, precision),
        "flops_per_second_of_products": flops_per_second,
        **whole,
        "by_language": {
            code: _per_sentence(model, tokens[languages == code], squares[languages == code], flops_per_second)
            for code in dict.fromkeys(work.languages)
            if code
        },
    }


def _per_sentence(
    model: Whole, tokens: np.ndarray[Any, Any], squares: np.ndarray[Any, Any], flops_per_second: float
) -> dict[str, float]:
    flops = forward_flops(model.encoder, int(tokens.sum()), int(squares.sum())) / len(tokens)
    return {
        "sentences": len(tokens),
        "tokens_per_sentence": float(tokens.mean()),
        "flops_per_sentence": flops,
        "most_sentences_per_second": flops_per_second / flops,
    }


def parameters(model: Whole) -> Mapping[str, int]:
    """How many there are: in all, in the token embedding, and in the rest."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embedding: nn.Embedding = model.encoder.get_input_embeddings()  # type: ignore[operator]
    return {
        "total": total,
        "token_embedding": embedding.weight.numel(),
        "rest": total - embedding.weight.numel(),
    }


def weight_bytes(model: Whole, precision: str) -> int:
    """Bytes of all weights in this precision. int8: a byte per weight of linear layers and of the token embedding, four
    per row for its scale, and four for everything else."""
    total = sum(parameter.numel() for parameter in model.parameters())
    if precision in BYTES:
        return BYTES[precision] * total
    embedding = model.encoder.get_input_embeddings()  # type: ignore[operator]
    reduced = [module.weight for module in model.modules() if isinstance(module, nn.Linear) or module is embedding]
    return 4 * total - sum(3 * weight.numel() - 4 * weight.shape[0] for weight in reduced)
