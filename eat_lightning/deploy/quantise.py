"""int8: matrix products with weights, quantised as they run (onnxruntime's dynamic quantisation).

Heads stay in fp32: they are a thousandth of the work, and every exit compares what they say with a
threshold. So do scores (a norm, or attention weights, which are products without weights): they are
compared with each other, and int8 would make ties of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from eat_lightning.deploy.graph import quiet


def in_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=heads(model),
        )
        return onnx.load(path)


def heads(model: onnx.ModelProto) -> list[str]:
    """Nodes that multiply by a head's weights, under the names that quantisation gives them."""
    nodes = [n.name for n in model.graph.node if any("heads." in name for name in n.input)]
    return [*nodes, *(f"{name}_MatMul" for name in nodes)]
