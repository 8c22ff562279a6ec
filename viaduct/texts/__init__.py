"""Tasks of one text, and tasks whose answer is a number."""
