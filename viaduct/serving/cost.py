"""What a model costs, from its architecture alone: parameters, bytes, operations, and the speed that the processor's
matrix products allow. No weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from viaduct.encode.tokens import Array
from viaduct.models.encoder import forward_flops, num_layers, width
from viaduct.serving.model import InferenceModel
from viaduct.serving.samples import Workload

BYTES = {"fp32": 4, "bf16": 2}


def cost(model: InferenceModel, work: Workload, precision: str, flops_per_second: float) -> dict[str, Any]:
    """Plain values: size, operations per sentence overall and by language, and the ceiling in sentences per second.

    A sentence is an example: the endings of a multiple-choice row count together. `flops_per_second` is the rate of
    float32 matrix products that `machine.matrix_rate` measured; in int8 a processor may do more than that.
    """
    sequences = np.diff(work.encoded.groups)
    of_example = np.repeat(np.arange(len(sequences)), sequences)
    tokens = np.bincount(of_example, weights=work.lengths, minlength=len(sequences))
    squares = np.bincount(of_example, weights=work.lengths.astype(float) ** 2, minlength=len(sequences))
    languages = np.array(work.languages)

    def per_sentence(chosen: Array | slice) -> dict[str, float]:
        sums = int(tokens[chosen].sum()), int(squares[chosen].sum())
        flops = forward_flops(model.encoder, *sums) / len(tokens[chosen])
        return {
            "sentences": len(tokens[chosen]),
            "tokens_per_sentence": float(tokens[chosen].mean()),
            "flops_per_sentence": flops,
            "most_sentences_per_second": flops_per_second / flops,
        }

    return {
        "layers": num_layers(model.encoder),
        "width": width(model.encoder),
        "parameters": parameters(model),
        "weight_bytes": weight_bytes(model, precision),
        "flops_per_second_of_products": flops_per_second,
        **per_sentence(slice(None)),
        "by_language": {code: per_sentence(languages == code) for code in dict.fromkeys(work.languages) if code},
    }


def parameters(model: InferenceModel) -> Mapping[str, int]:
    """How many there are: in all, in the token embedding, and in the rest."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embedding: nn.Embedding = model.encoder.get_input_embeddings()  # type: ignore[operator]
    inside = embedding.weight.numel()
    return {"total": total, "token_embedding": inside, "rest": total - inside}


def weight_bytes(model: InferenceModel, precision: str) -> int:
    """Bytes of all weights in this precision. int8: a byte per weight of linear layers and of the token embedding, four
    per row for its scale, and four for everything else."""
    total = parameters(model)["total"]
    if precision in BYTES:
        return BYTES[precision] * total
    embedding = model.encoder.get_input_embeddings()  # type: ignore[operator]
    reduced = [module.weight for module in model.modules() if isinstance(module, nn.Linear) or module is embedding]
    return 4 * total - sum(3 * weight.numel() - 4 * weight.shape[0] for weight in reduced)
