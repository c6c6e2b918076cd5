"""What answers, in which engine: a run in torch, or its graphs in onnxruntime or OpenVINO."""
