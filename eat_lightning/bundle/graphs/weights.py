"""Graphs that share one external file of weights, each stored once.

The stretches and the single graph have the same weights, which would otherwise be stored twice.
onnxruntime maps the file, so both also share its memory pages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from onnx import AttributeProto, GraphProto, ModelProto
from onnx.external_data_helper import set_external_data

LEAST = 1024  # bytes; a smaller constant stays in its graph
PAGE = 4096  # where a weight may begin, so that it can be mapped


def save(models: dict[str, ModelProto], path: Path) -> None:
    """Write each model under its name beside `path`, which receives the weights of all."""
    places: dict[bytes, int] = {}
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
                    places[key] = file.tell()
                    file.write(content)
                set_external_data(weight, path.name, places[key], len(content))
                weight.ClearField("raw_data")
            # Notes of where the code that was traced lies name folders of this machine.
            for node in (node for graph in graphs for node in graph.node):
                node.ClearField("metadata_props")
                node.ClearField("doc_string")
            (path.parent / name).write_bytes(model.SerializeToString())


def with_branches(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the graphs in its branches."""
    yield graph
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.type == AttributeProto.GRAPH:
            yield from with_branches(attribute.g)
