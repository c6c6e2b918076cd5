"""A trained run as ONNX graphs that keep pruning and exits."""
