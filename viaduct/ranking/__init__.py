"""A first look before anything is trained: which intermediate task, or which encoder, suits a target."""
