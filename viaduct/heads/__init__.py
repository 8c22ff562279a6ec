"""The head for each kind of row: its token sequences, module, loss and predictions, with one file per kind."""
