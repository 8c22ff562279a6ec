"""Inference cost of trained models, and ways to make them smaller: engines, export, compression, measurement."""
