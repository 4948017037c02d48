"""Models that are shipped as graphs, for engines that run them without their code: ONNX, and programs of torch.export.

Neither kind of file runs code of its own here. What they compute is looked at, never changed.
"""
