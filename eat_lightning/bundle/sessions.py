"""A graph of an export, ready to run in onnxruntime or OpenVINO.

This file uses only numpy and the engine, because exports contain a copy of it; it must not import
from the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

NEXT = "next_"  # in front of what a graph hands on
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not in int8

State = dict[str, np.ndarray]


class OnnxSession:
    """A graph in onnxruntime.

    Args:
        threads: None: all CPU threads.
    """

    package, dtypes = "onnxruntime", ("fp32", "int8")
    branching = dtypes  # in which it computes a graph with `If`

    def __init__(self, path: Path, threads: int | None, dtype: str):
        onnxruntime = import_module(self.package)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Threads of a graph else go on spinning after it, and take the cores from the next one's:
        # on two cores, texts in batches then took three times as long through six graphs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        start = onnxruntime.InferenceSession
        self.graph = start(str(path), options, ["CPUExecutionProvider"])
        self.takes = [value.name for value in self.graph.get_inputs()]
        self.gives = [value.name for value in self.graph.get_outputs()]

    def __call__(self, state: State) -> list[np.ndarray]:
        return self.graph.run(None, {name: state[name] for name in self.takes})


class OpenVinoSession:
    """A graph in OpenVINO.

    Sizes are dynamic: the plugin creates and caches kernels when a length first occurs. The
    compiled graph is not cached on disk, where it could not be checked before use.

    Args:
        dtype: "bf16" computes the products of an fp32 graph in bf16; norms and scores stay in fp32.
    """

    package, dtypes = "openvino", ("fp32", "bf16", "int8")
    # In bf16, an `If` of a twelve-layer classifier of pairs left all of its outputs unwritten: the
    # answer was what stood in that memory before. Other classifiers were right.
    branching = ("fp32", "int8")

    def __init__(self, path: Path, threads: int | None, dtype: str):
        openvino = import_module(self.package)
        core = openvino.Core()
        if dtype == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError("OpenVINO has no bf16 products on this processor")
        how = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        how |= {"INFERENCE_PRECISION_HINT": PRECISIONS[dtype]}
        how |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        model = core.read_model(str(path))
        if dtype == "int8":
            how["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = in_its_int8(model)
        graph = core.compile_model(model, "CPU", how)
        self.request = graph.create_infer_request()
        # What a graph hands on unchanged bears the names of both ends.
        self.takes = [min(value.names, key=is_handed_on) for value in graph.inputs]
        self.gives = [max(value.names, key=is_handed_on) for value in graph.outputs]

    def __call__(self, state: State) -> list[np.ndarray]:
        feeds = {i: state[name] for i, name in enumerate(self.takes)}
        return [*self.request.infer(feeds, share_inputs=True).to_tuple()]


def is_handed_on(name: str) -> bool:
    return name.startswith(NEXT)


def in_its_int8(model: Any) -> int:
    """Replace the int8 products that `export` writes for onnxruntime by OpenVINO's own.

    OpenVINO reads their QuantizeLinear with a scale per row along the wrong axis. Returns the group
    size for its dynamic quantisation, which is the inner width of the narrowest product. Rows of
    wider products get several scales, whereas onnxruntime uses one, but no answer depends on other
    rows.
    """
    widths = [replace_product(product) for product in quantised_products(model)]
    return min(widths, default=0)


def quantised_products(model: Any) -> Iterator[Any]:
    """Yield products with dynamically quantised left sides, including those in branches."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "If":
            for number in (0, 1):
                yield from quantised_products(node.get_function(number))
        elif node.get_type_name() == "MatMul" and above(node, 0).get_type_name() == "FakeQuantize":
            yield node


def replace_product(product: Any) -> int:
    """Replace a quantised product by x times scaled integer weights, which OpenVINO quantises
    itself. Returns its inner width.

    The original is: x -> scaled integers -> product -> float -> column scales -> row scales. In a
    head of one example, both scales are multiplied first: ... -> float -> scales.
    """
    op = import_module("openvino.opset13")
    scaled = below(below(product))
    given = above(product, 0).input_value(0)
    weight_KM = above(product, 1).data
    (beside,) = (side for side in sides_of(scaled) if side.get_type_name() != "MatMul")
    if beside.get_type_name() == "Constant":
        scaled = below(scaled)
    else:
        (beside,) = (x for x in sides_of(beside) if x.get_type_name() == "Constant")
    scale_M = beside.data
    whole_MK = op.constant(np.ascontiguousarray(weight_KM.T))
    weight_MK = op.multiply(op.convert(whole_MK, "f32"), op.constant(scale_M.reshape(-1, 1).copy()))
    scaled.output(0).replace(op.matmul(given, weight_MK, False, True).output(0))
    return weight_KM.shape[0]


def sides_of(multiply: Any) -> list[Any]:
    return [above(multiply, number) for number in (0, 1)]


def above(node: Any, number: int) -> Any:
    """Return the node that produces an input, skipping conversions and zero points."""
    node = node.input_value(number).get_node()
    while node.get_type_name() in ("Convert", "Subtract"):
        node = node.input_value(0).get_node()
    return node


def below(node: Any) -> Any:
    (place,) = node.output(0).get_target_inputs()
    return place.get_node()


ENGINES: dict[str, Any] = {"onnx": OnnxSession, "openvino": OpenVinoSession}


def engine_faults(engine: str, dtype: str = "fp32") -> list[str]:
    """List the reasons why an engine cannot run graphs in a dtype on this machine. "bf16" refers to
    fp32 graphs.
    """
    session, found = ENGINES[engine], []
    if find_spec(session.package) is None:
        found.append(f"backend={engine} needs {session.package}: pip install {session.package}")
    if dtype not in session.dtypes:
        found.append(f"dtype={dtype}: {session.package} has no such products on a processor")
    return found
