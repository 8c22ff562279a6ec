"""Cards: each describes one dataset completely, in one file."""
