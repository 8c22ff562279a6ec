"""Rows to token ids, cached once; token-budget batches."""
