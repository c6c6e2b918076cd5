"""Engines that answer: a run in torch, or its graphs in onnxruntime or OpenVINO."""
