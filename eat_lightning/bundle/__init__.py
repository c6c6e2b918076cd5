"""Folders that hold a model, and models that answer: in torch, onnxruntime or OpenVINO."""
