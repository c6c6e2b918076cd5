"""Export a trained run to ONNX graphs that keep pruning and exits."""
