"""Metrics in pure Python and NumPy: rows and predictions in, signed scores out."""
