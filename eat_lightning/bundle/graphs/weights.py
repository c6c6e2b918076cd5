"""Graphs that share their weights: with each other in one external file, and with the classifier's
own safetensors where a graph computes in the same precision.

The stretches and the single graph have the same weights, which would otherwise be stored twice.
onnxruntime maps the file, so both also share its memory pages.

Engines read no weights outside a graph's folder. A graph can therefore refer to safetensors that
lie beside it or, by a hard link, in the folder above.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)
from onnx.external_data_helper import set_external_data
from torch import Tensor

from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.onnx_runner import WEIGHTS
from eat_lightning.files import link
from eat_lightning.weights.files import weight_files

LEAST = 1024  # bytes; a smaller constant stays in its graph
PAGE = 4096  # where a weight may begin, so that it can be mapped
MOST_PARTS = 3  # a layer's query, key and value are one weight here, and three in transformers


@dataclass(frozen=True)
class Place:
    """Where the bytes of a tensor lie: a file by its name, from `offset` on."""

    file: str
    offset: int
    size: int

    def mark(self, weight: TensorProto) -> None:
        """Let a weight lie there instead of in its graph."""
        weight.raw_data = b""  # which must be there to be replaced
        set_external_data(weight, self.file, self.offset, self.size)
        weight.ClearField("raw_data")


class Safetensors:
    """Tensors of safetensors files, found by their contents."""

    def __init__(self, files: Iterable[Path]):
        self.places = dict(entry for path in files for entry in tensors_of(path))

    def refer(self, model: ModelProto) -> set[str]:
        """Let the model's weights lie in these files where their contents are the same. Returns the
        names of the files that it then needs."""
        found = [
            self.replace(weight, graph)
            for graph in with_branches(model.graph)
            for weight in [*graph.initializer]
            if weight.data_type == TensorProto.FLOAT and len(weight.raw_data) >= LEAST
        ]
        return {place.file for places in found for place in places}

    def replace(self, weight: TensorProto, graph: GraphProto) -> Sequence[Place]:
        """Replace a weight by tensors that are stored: by itself, or by several below each other,
        and transposed where a product wants it so. Engines undo both as they load the graph."""
        array = np.frombuffer(weight.raw_data, "<f4").reshape(weight.dims)
        places, turned = self.parts(array), False
        if not places and array.ndim == 2:
            array = np.ascontiguousarray(array.T)
            places, turned = self.parts(array), True
        if len(places) == 1 and not turned:
            places[0].mark(weight)
        elif places:
            dims = [array.shape[0] // len(places), *array.shape[1:]]
            graph.initializer.remove(weight)
            for node in reversed(joined(weight.name, len(places), turned)):
                graph.node.insert(0, node)
            for i, place in enumerate(places):
                part = TensorProto(name=f"{weight.name}.{i}", dims=dims, data_type=weight.data_type)
                place.mark(part)
                graph.initializer.append(part)
        return places

    def parts(self, array: np.ndarray) -> list[Place]:
        """The tensors which, below each other, are this array; none where there are no such."""
        for num in range(1, MOST_PARTS + 1):
            if array.ndim and len(array) % num == 0:
                keys = [hashlib.sha256(part.data).digest() for part in np.split(array, num)]
                if all(key in self.places for key in keys):
                    return [self.places[key] for key in keys]
        return []


def tensors_of(path: Path) -> Iterator[tuple[bytes, Place]]:
    """Yield the place of each fp32 tensor of a safetensors file, by the hash of its contents."""
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    for name, about in json.loads(content[8:start].tobytes()).items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        first, last = (start + offset for offset in about["data_offsets"])
        if last - first >= LEAST and first % 4 == 0:
            key = hashlib.sha256(content[first:last].data).digest()
            yield key, Place(path.name, first, last - first)


def joined(name: str, num: int, turned: bool) -> list[NodeProto]:
    """Nodes that make a weight of its parts."""
    parts, nodes = [f"{name}.{i}" for i in range(num)], []
    if num > 1:
        whole = f"{name}.whole" if turned else name
        nodes.append(helper.make_node("Concat", parts, [whole], axis=0))
        parts = [whole]
    return [
        *nodes,
        *([helper.make_node("Transpose", parts, [name], perm=[1, 0])] if turned else []),
    ]


def save(models: dict[str, ModelProto], path: Path) -> None:
    """Write each model under its name beside `path`, which receives the weights of all that lie
    nowhere else."""
    places: dict[bytes, Place] = {}
    with path.open("wb") as file:
        for name, model in models.items():
            graphs = [*with_branches(model.graph)]
            for weight in (weight for graph in graphs for weight in graph.initializer):
                content = weight.raw_data
                if len(content) < LEAST:
                    continue
                key = hashlib.sha256(content).digest()
                if key not in places:
                    file.write(b"\0" * (-file.tell() % PAGE))
                    places[key] = Place(path.name, file.tell(), len(content))
                    file.write(content)
                places[key].mark(weight)
            # Notes of where the code that was traced lies name folders of this machine.
            for node in (node for graph in graphs for node in graph.node):
                node.ClearField("metadata_props")
                node.ClearField("doc_string")
            (path.parent / name).write_bytes(model.SerializeToString())
    if not places:
        path.unlink()


class Unlike(Exception):
    """Error: a graph cannot be written from another."""


def move(path: Path, to: Path, numbers: Mapping[str, Tensor]) -> None:
    """Write a graph anew with other numbers as some of its weights, which lie in the graph itself.

    Args:
        numbers: by name of the weight.

    Raises:
        Unlike: where there is no such graph, or it lacks such a weight.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise Unlike(f"{path}: {error}") from None
    left = dict(numbers)
    for weight in (weight for graph in with_branches(model.graph) for weight in graph.initializer):
        if weight.name in left:
            weight.CopyFrom(numpy_helper.from_array(left.pop(weight.name).numpy(), weight.name))
    if left:
        raise Unlike(f"{path}: no {', '.join(left)}")
    to.write_bytes(model.SerializeToString())


def copy_sharing(graphs: Path, to: Path, files: Sequence[Path]) -> None:
    """Copy a folder of graphs; what safetensors files hold is linked there, and not copied.

    Graphs for onnxruntime with branches keep weights of their own, because it refuses a linked file
    in a branch. Weights outside the branches may be linked, but then a text took 1.5 times as long.

    Args:
        to: named after the engine and its precision.
    """
    shutil.copytree(graphs, to, ignore=shutil.ignore_patterns("*.onnx", "*.safetensors", WEIGHTS))
    models = {path.name: onnx.load(path) for path in sorted(graphs.glob("*.onnx"))}
    has_branches = any(len([*with_branches(model.graph)]) > 1 for model in models.values())
    stored = Safetensors([] if has_branches and to.name.startswith("onnx-") else files)
    needed = set[str]().union(*(stored.refer(model) for model in models.values()))
    save(models, to / WEIGHTS)
    for path in files:
        if path.name in needed:
            link(path, to / path.name)


def save_beside(model: ModelProto, bundle: Bundle) -> None:
    """Write the graph of a bundle's original, which reads model.safetensors."""
    Safetensors(weight_files(bundle.folder)).refer(model)
    save({bundle.static_graph.name: model}, bundle.static_weights)


def with_branches(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the graphs in its branches."""
    yield graph
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.type == AttributeProto.GRAPH:
            yield from with_branches(attribute.g)
