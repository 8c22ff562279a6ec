"""The embedded world: a small multilingual benchmark in official formats."""
