"""What is trained on each kind of row: its token sequences, module, loss and predictions, one file for each kind."""
