"""Data and models that arrive by themselves: from publishers' servers and from the Hugging Face Hub, verified."""
