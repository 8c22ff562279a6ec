"""Viaduct: intermediate-task training and zero-shot evaluation of multilingual encoders."""

__version__ = "0.1.0"
