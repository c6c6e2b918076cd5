"""Join the stretches into one graph for a single example, with an `If` at each exit, so that layers
after the exit are not run.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from eat_lightning.bundle.graphs.graph import NEXT
from eat_lightning.model.reason import Reason

Known = dict[tuple[Any, ...], list[str]]  # from what a node computes to its outputs
OUT = {  # what comes out: its type and its axes
    "logits_BC": (TensorProto.FLOAT, [1, "classes"]),
    "depth_B": (TensorProto.INT64, [1]),
    "reason_B": (TensorProto.INT64, [1]),
    "tokens_LB": (TensorProto.INT64, ["layers", 1]),
}


def with_if(models: list[ModelProto], lasts: list[int]) -> ModelProto:
    """Join `models`, which take one example at a time, in order.

    The result takes ids_N, types_N, lengths_B and returns a trace: logits_BC, depth_B, reason_B,
    and tokens_LB with 0 for a layer that was not run.

    Args:
        lasts: the last layer of each model.
    """
    first = models[0].graph
    names = {value.name: value.name for value in first.input}
    graph = chain([model.graph for model in models], lasts, 0, names, [], {})
    graph.input.extend(first.input)
    versions = {o.domain: o.version for model in models for o in model.opset_import}
    opsets = [helper.make_opsetid(*each) for each in versions.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=models[0].ir_version)
    onnx.checker.check_model(made)
    return made


def in_single(i: int) -> str:
    """What stands before the names of weights of the stretch `i` in the single graph."""
    return f"stretch{i + 1}."


def chain(
    graphs: list[GraphProto],
    lasts: list[int],
    i: int,
    names: dict[str, str],
    tokens: list[str],
    known: Known,
) -> GraphProto:
    """Return stretch i and all following ones as a graph.

    Args:
        names: of its inputs in the enclosing graphs.
        tokens: names of the tokens_LB of the preceding stretches.
        known: what the enclosing graphs compute; that of stretch i is added.
    """
    nodes, weights, new = renamed(graphs[i], in_single(i), names)
    nodes, weights, new = without_repeats(nodes, weights, new, known)
    tokens = [*tokens, *([new["tokens_LB"]] if "tokens_LB" in new else [])]
    if i + 1 == len(graphs):
        nodes += ending(i, lasts, new, tokens, out_names(i))
        return helper.make_graph(nodes, f"stretch{i + 1}", [], outputs(out_names(i)), weights)
    left = out_names(i, "left")
    leaves = ending(i, lasts, new, tokens, left)
    branches: dict[str, Any] = {
        "then_branch": chain(graphs, lasts, i + 1, names | new, tokens, known),
        "else_branch": helper.make_graph(leaves, f"left{i + 1}", [], outputs(left)),
    }
    nodes += [
        constant(f"stays{i + 1}", [int(Reason.STAYS)]),
        helper.make_node("Equal", [new["reason_B"], f"stays{i + 1}"], [f"goes_on{i + 1}"]),
        helper.make_node("If", [f"goes_on{i + 1}"], out_names(i), **branches),
    ]
    return helper.make_graph(nodes, f"stretch{i + 1}", [], outputs(out_names(i)), weights)


def ending(
    i: int, lasts: list[int], new: dict[str, str], tokens: list[str], out: list[str]
) -> list[NodeProto]:
    """Return the nodes of a trace that ends after stretch i. The last stretch gives no reason.

    Args:
        new: current names of the stretch's outputs.
    """
    decisions = [
        helper.make_node("Identity", [new["logits_BC"]], [out[0]]),
        constant(out[1], [lasts[i]]),
        helper.make_node("Identity", [new["reason_B"]], [out[2]])
        if "reason_B" in new
        else constant(out[2], [int(Reason.LAST_LAYER)]),
    ]
    rest = lasts[-1] - lasts[i]
    zeros = [constant(f"{out[3]}.rest", np.zeros((rest, 1)))] if rest else []
    parts = [*tokens, *(node.output[0] for node in zeros)]
    return [*decisions, *zeros, helper.make_node("Concat", parts, [out[3]], axis=0)]


def out_names(i: int, tag: str = "") -> list[str]:
    return [f"{name}.{tag}{i + 1}" if i or tag else name for name in OUT]


def outputs(names: list[str]) -> list[Any]:
    pairs = zip(names, OUT.values(), strict=True)
    return [helper.make_tensor_value_info(name, *described) for name, described in pairs]


def constant(name: str, values: Any) -> NodeProto:
    value = numpy_helper.from_array(np.asarray(values, np.int64))
    return helper.make_node("Constant", [], [name], value=value)


def renamed(
    graph: GraphProto, prefix: str, names: dict[str, str]
) -> tuple[list[NodeProto], list[TensorProto], dict[str, str]]:
    """Rename the nodes and weights of a graph with a prefix, except its inputs.

    The number of tokens is read from the positions, which only a reduction replaces, so that
    `without_repeats` recognises what follows from it.

    Args:
        names: new names of the inputs.

    Returns:
        The nodes, the weights, and the new names of the outputs.
    """
    graph = compose.add_prefix_graph(graph, prefix)
    given = {value.name: names[value.name.removeprefix(prefix)] for value in graph.input}
    for node in graph.node:
        assert not any(attribute.HasField("g") for attribute in node.attribute)
        if counts_rows(node) and node.input[0] == f"{prefix}x_ND":
            node.input[0] = f"{prefix}position_N"
        node.input[:] = [given.get(name, name) for name in node.input]
    called = {v.name.removeprefix(prefix).removeprefix(NEXT): v.name for v in graph.output}
    return [*graph.node], [*graph.initializer], called


def counts_rows(node: NodeProto) -> bool:
    """Whether a node returns the length of the first axis alone."""
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    return node.op_type == "Shape" and ends.get("start", 0) == 0 and ends.get("end") == 1


def without_repeats(
    nodes: list[NodeProto], weights: list[TensorProto], names: dict[str, str], known: Known
) -> tuple[list[NodeProto], list[TensorProto], dict[str, str]]:
    """Drop the nodes of a stretch that repeat a computation of an enclosing graph, whose values a
    branch can read: masks, relative positions, the weights of pooling.

    Args:
        names: of the stretch's outputs.
        known: what the enclosing graphs compute. The nodes that remain are added.

    Returns:
        The nodes and weights that remain, and the new names of the outputs.
    """
    contents = {weight.name: digest(weight) for weight in weights}
    same: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]
        attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
        read = [contents.get(name, name) for name in node.input]
        outputs = known.setdefault((node.op_type, *attributes, *read), [*node.output])
        if outputs == [*node.output]:
            kept.append(node)
        same |= dict(zip(node.output, outputs, strict=True))
    names = {name: same.get(value, value) for name, value in names.items()}
    needed = {name for node in kept for name in node.input} | {*names.values()}
    return kept, [weight for weight in weights if weight.name in needed], names


def digest(weight: TensorProto) -> bytes:
    """Return a hash of a weight's contents, the same under every name."""
    kind = f"{weight.data_type} {weight.dims} ".encode()
    return hashlib.sha256(kind + numpy_helper.to_array(weight).tobytes()).digest()
