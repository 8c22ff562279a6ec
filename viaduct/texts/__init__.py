"""Tasks on a single text, and tasks whose answer is a number."""
