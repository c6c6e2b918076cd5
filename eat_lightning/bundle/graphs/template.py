"""ONNX graphs without weights, made once for all stretches that compute the same.

Layers of one encoder differ in their weights alone, and most candidates of an adaptation in the
points of their exits. To convert such a program again takes seconds and gives the same graph. It is
therefore converted once, with its weights as inputs, and filled with the weights of each stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_unflatten

from eat_lightning.bundle.graphs.weights import with_branches

WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
MOST = 256  # templates of some 20 kB a layer that are kept; a search makes fewer than a hundred


@dataclass(frozen=True)
class Traced:
    """What torch.export makes of a stretch."""

    program: ExportedProgram

    @property
    def outputs(self) -> list[str]:
        """Keys of the dict that comes out, in their order."""
        spec = self.program.call_spec.out_spec
        assert spec is not None
        return [*tree_unflatten(range(spec.num_leaves), spec)]

    @cached_property
    def weights(self) -> dict[str, str]:
        """Names of the weights that it reads, by the placeholder of each, in their order."""
        unread = {node.name for node in self.program.graph.nodes if not node.users}
        return {name: target for name, target in self.held.items() if name not in unread}

    @cached_property
    def held(self) -> dict[str, str]:
        """Names of all weights of its module."""
        specs = self.program.graph_signature.input_specs
        return {each.arg.name: str(each.target) for each in specs if each.kind in WEIGHTS}

    def tensor(self, target: str) -> Tensor:
        known: Any = self.program.state_dict | self.program.constants
        return known[target].detach()

    @property
    def text(self) -> str | None:
        """All that decides its graph, and so neither values nor names of weights: each operation
        with its arguments. None where a part of it is a program of its own."""
        numbers: dict[Node, str] = {}
        lines = [str(self.outputs)]
        for node in self.program.graph.nodes:
            if node.op == "get_attr":
                return None
            if node.name in self.held and node.name not in self.weights:
                continue
            numbers[node] = f"%{len(numbers)}"
            lines.append(self.line(node, numbers))
        return "\n".join(lines)

    def line(self, node: Node, numbers: Mapping[Node, str]) -> str:
        if node.op != "placeholder":
            given = map_arg((node.args, dict(node.kwargs)), lambda each: Number(numbers[each]))
            return f"{node.op} {node.target} {given}"
        value = node.meta["val"]
        name = "" if node.name in self.weights else node.name
        return f"{name} {value.dtype} {[*value.shape]}"


class Number(str):
    """A node in the text of a program. It is no string that an operation is given."""

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Template:
    """A graph whose weights are inputs, named weight.0, weight.1 and so on."""

    model: ModelProto

    def filled(self, traced: Traced) -> ModelProto:
        """Return the graph with the weights of a program of the same text, named as there."""
        made = ModelProto()
        made.CopyFrom(self.model)
        targets = {f"weight.{i}": name for i, name in enumerate(traced.weights.values())}
        given = [value for value in made.graph.input if value.name not in targets]
        read = {value.name for value in made.graph.input} & targets.keys()
        del made.graph.input[:]
        made.graph.input.extend(given)
        for node in (node for graph in with_branches(made.graph) for node in graph.node):
            node.input[:] = [targets.get(name, name) for name in node.input]
        for number in sorted(read):
            # `ascontiguousarray` would make an axis of a single number.
            array = np.asarray(traced.tensor(targets[number]).cpu().numpy(), order="C")
            made.graph.initializer.append(numpy_helper.from_array(array, targets[number]))
        return made


class Templates:
    """Templates by the text of their programs."""

    def __init__(self) -> None:
        self.known: dict[str, Template] = {}

    def of(self, traced: Traced, convert: Callable[[Traced], Any]) -> Template:
        """Look a template up, or make and keep it.

        Args:
            convert: makes a program an `ONNXProgram` that is not optimized yet.
        """
        text = traced.text
        if text is None:
            return as_template(traced, convert)
        if text not in self.known:
            if len(self.known) >= MOST:
                del self.known[next(iter(self.known))]
            self.known[text] = as_template(traced, convert)
        return self.known[text]


def as_template(traced: Traced, convert: Callable[[Traced], Any]) -> Template:
    """Convert a program with its weights as inputs, so that the optimizer folds none of them into
    another constant."""
    program = convert(traced)
    graph = program.model.graph
    for number, target in enumerate(traced.weights.values()):
        weight = graph.initializers.pop(target, None)
        if weight is not None:  # the converter keeps none that only asserts read
            weight.const_value, weight.name = None, f"weight.{number}"
            graph.inputs.append(weight)
    assert not graph.initializers.keys() & traced.held.values()  # no weight of this stretch is left
    program.optimize()
    model: ModelProto = program.model_proto
    del model.graph.value_info[:]
    for node in (node for graph in with_branches(model.graph) for node in graph.node):
        node.ClearField("metadata_props")  # where the traced code lies, longer than all else
    return Template(model)
