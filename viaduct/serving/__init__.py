"""What a trained model costs to run, and how to make it smaller: engines, export, compression, measuring."""
