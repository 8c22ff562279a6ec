"""Images with captions as training data: cards, towers, objectives, controls, and their part of the report."""
