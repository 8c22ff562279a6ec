"""What a model costs to run: from its architecture, and from the clock."""
