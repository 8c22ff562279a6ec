"""Fusion: translations as training data, FILTER's fused encoder, and self-teaching."""
