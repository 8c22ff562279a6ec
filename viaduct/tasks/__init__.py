"""Cards: one file says everything about one dataset."""
