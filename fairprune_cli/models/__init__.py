"""Networks: architectures, checkpoints, the model file, their size and speed."""
