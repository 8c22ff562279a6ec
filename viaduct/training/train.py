"""The Train stage: an encoder and a new head on one card's English train split, chosen on its English dev split."""

from __future__ import annotations

from viaduct.training.finetuning import run

__all__ = ["run"]
