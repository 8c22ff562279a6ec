"""The Pretrain stage: a tokenizer and an XLM-R-shaped encoder, by masked LM on text and translation LM on parallel
text."""

from __future__ import annotations

from viaduct.training.pretraining import run

__all__ = ["run"]
