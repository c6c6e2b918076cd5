"""Graphs that others may have written, looked at before onnxruntime loads one of them.

They are data: arithmetic on what is handed in, with weights from the one file beside them. What
else a graph can ask for (a file elsewhere, an operator of someone's library, branches without end)
is refused. Looking takes the package onnx; where that is absent, or an export of one's own brings
other operators, its folder can be named in EAT_TRUST, and is then not looked at.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TRUST = "EAT_TRUST"  # folders, separated as in PATH
WEIGHTS = "weights.bin"
OPSET = 20  # the newest that `export` writes
NAMES = """
    Abs Add And ArgMax Cast Clip Concat Constant ConstantOfShape Cos CumSum Div Equal Exp Expand
    Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Identity If IsNaN
    LayerNormalization Less LessOrEqual LogSoftmax MatMul MatMulInteger Max Min Mod Mul Neg NonZero
    Not Or Pad Pow QuantizeLinear Range ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum Relu
    Reshape ScatterElements ScatterND Shape Sigmoid Sin Slice Softmax Split Squeeze Sub Tanh TopK
    Transpose Trilu Unsqueeze Where
"""
OPERATORS = frozenset(re.findall(r"\w+", NAMES))
TYPES = (1, 2, 3, 6, 7, 9, 11)  # float, uint8, int8, int32, int64, bool, double in ONNX's numbers
MOST_GRAPH = 2 << 30  # bytes of a graph, as of any protobuf; ours have some 100,000
MOST_WEIGHTS = 16 << 30  # bytes of these; BERT-base has 440 million
MOST_NODES = 100_000  # of a graph and its branches; ours have some hundred for a layer
MOST_BRANCHES = 30  # within one another; ours have one for each exit, protobuf reads 33


def check_graphs(folder: Path, files: list[str]) -> None:
    """ValueError, in one line, with the first thing that is not as in an export of ours."""
    if is_trusted(folder):
        return
    if find_spec("onnx") is None:
        said = "the package onnx, which looks at graphs before they run, is not installed"
        raise ValueError(f"{folder}: {said}; {TRUST}={folder} runs them unseen")
    weights = folder / WEIGHTS
    room = size_of(weights, MOST_WEIGHTS) if os.path.lexists(weights) else 0
    for name in dict.fromkeys(files):
        size_of(folder / name, MOST_GRAPH)
        faults = model_faults(folder / name, room)
        if fault := next(faults, None):
            words = "".join(c if c.isprintable() else "?" for c in f"{fault:.200}")
            raise ValueError(f"{folder / name}: not a graph that `export` writes ({words})")


def is_trusted(folder: Path) -> bool:
    named = filter(None, os.environ.get(TRUST, "").split(os.pathsep))
    return folder.resolve() in {Path(path).resolve() for path in named}


def size_of(path: Path, most: int) -> int:
    """Bytes of a plain file."""
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path}: must be a plain file in the export's own folder")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path}: {size} bytes, and at most {most} are read")
    return size


def model_faults(path: Path, room: int) -> Iterator[str]:
    """room: bytes of the weights beside it."""
    import onnx

    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's errors have no class of ours
        yield f"it cannot be read: {(str(error).splitlines() or [''])[0]}"
        return
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx") or not 1 <= opset.version <= OPSET:
            yield f"operators of {opset.domain or 'ai.onnx'} {opset.version}"
    if model.functions or model.training_info:
        yield "functions or training of its own"
    if any("config" in entry.key for entry in model.metadata_props):
        yield "a configuration for whoever runs it"
    left = [MOST_NODES]
    yield from faults_in(model.graph, room, left, 0)


def faults_in(graph: Any, room: int, left: list[int], depth: int) -> Iterator[str]:
    """left: nodes that may still come, of all graphs together."""
    if depth > MOST_BRANCHES:
        yield f"more than {MOST_BRANCHES} branches within one another"
        return
    if graph.sparse_initializer:
        yield "sparse weights"
    for weight in graph.initializer:
        yield from weight_faults(weight, room)
    for node in graph.node:
        left[0] -= 1
        if left[0] < 0:
            yield f"more than {MOST_NODES} nodes"
            return
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            yield f"the operator {name}, which is none of ours"
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield "sparse weights"
            own = [attribute.t] if attribute.HasField("t") else []
            for weight in [*own, *attribute.tensors]:
                yield from weight_faults(weight, 0)
            inner = [attribute.g] if attribute.HasField("g") else []
            for branch in [*inner, *attribute.graphs]:
                yield from faults_in(branch, room, left, depth + 1)


def weight_faults(weight: Any, room: int) -> Iterator[str]:
    """Its numbers lie in the graph, or within the weights' one file, as many as its shape says."""
    from onnx import TensorProto, helper

    if weight.data_type not in TYPES:
        yield f"a weight of type {weight.data_type}"
        return
    if any(size < 0 for size in weight.dims):
        yield "a weight of a negative size"
        return
    width = helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize
    wanted = math.prod(weight.dims) * width
    if weight.data_location != TensorProto.EXTERNAL and not weight.external_data:
        packed = (weight.float_data, weight.int32_data, weight.int64_data, weight.double_data)
        there = len(weight.raw_data) or max(map(len, packed)) * width
        if there != wanted:
            yield f"a weight of {wanted} bytes, of which {there} are there"
        return
    entries = {entry.key: entry.value for entry in weight.external_data}
    place = entries.get("location")
    if place != WEIGHTS:
        yield f"weights in {place!r:.80}, and not in {WEIGHTS}"
        return
    numbers = [entries.get("offset", "0"), entries.get("length", str(wanted))]
    if not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
        yield f"weights at {numbers!r:.80}"
        return
    offset, length = map(int, numbers)
    if length != wanted or offset + length > room:
        yield f"weights at {offset} to {offset + length}, of {wanted} bytes, in a file of {room}"
