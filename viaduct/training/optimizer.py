"""The optimiser of every training, and its learning-rate schedule."""

from __future__ import annotations

import torch
from torch import nn

from viaduct.runs.parts import Training


def build_optimizer(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW (betas 0.9, 0.999, eps 1e-8 as the BERT family uses) over the groups encoder/head x decay/no decay.

    Only weight matrices outside embeddings decay; parameters whose name begins with "head." get the head's
    learning rate.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head_rate = training.head_learning_rate or training.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and id(parameter) not in embeddings
        rate = head_rate if name.startswith("head.") else training.learning_rate
        groups.setdefault((rate, training.weight_decay if decays else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
            for (rate, decay), members in groups.items()
        ],
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, step: int, steps: int, warmup_fraction: float) -> float:
    """Set the learning rates of optimiser step `step` (0-based) of `steps`: linear warm-up, then linear decay to zero.
    Returns the encoder's rate, or the head's if nothing of the encoder is trained."""
    warmup = max(1, round(steps * warmup_fraction))
    factor = min((step + 1) / warmup, (steps - step) / max(1, steps - warmup + 1))
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    trained = (group for group in optimizer.param_groups if any(one.requires_grad for one in group["params"]))
    return float(next(trained)["lr"])  # the encoder's parameters come first
