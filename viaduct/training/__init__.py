"""Training objectives and the single training loop."""
