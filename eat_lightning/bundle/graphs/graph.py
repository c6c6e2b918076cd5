"""Export a stretch of the encoder to an ONNX graph with torch.export.

Names end in their shapes, from which the runner knows the axis of examples or tokens.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from traceback import walk_tb
from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor
from torch.export import Dim

from eat_lightning.bundle.graphs.template import Templates, Traced
from eat_lightning.bundle.graphs.trace import Lost, Stretch, sample, stretches
from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import kind_of
from eat_lightning.progress import shown

OPSET = 20
TEMPLATES = Templates()  # of this process
NEXT = "next_"  # in front of the names that go out: a graph's input and output may not share one


def graphs(encoder: AdaptiveEncoder, alone: bool) -> list[Any]:
    """Return an ONNX model for each stretch.

    Args:
        alone: for one example at a time.
    """
    made = list(enumerate(stretches(encoder, alone)))
    title = "graph of single examples" if alone else "graphs of batches"
    return [graph(stretch, sample(stretch, i)) for i, stretch in shown(made, title, fewest=2)]


def traced(stretch: Stretch, state: dict[str, Tensor]) -> Any:
    """Export the program of a stretch with dynamic sizes."""
    shapes = {name: name.rpartition("_")[2] for name in state}
    differ: dict[str, Any] = dict.fromkeys("N" if stretch.alone else "NB", Dim.DYNAMIC)
    differ["E"] = Dim.AUTO  # a rule that reads one exit alone takes any number of them
    open_sizes = {
        name: {i: differ[axis] for i, axis in enumerate(axes) if axis in differ}
        for name, axes in shapes.items()
    }
    return torch.export.export(stretch, (state,), dynamic_shapes=(open_sizes,), strict=False)


def graph(stretch: Stretch, state: dict[str, Tensor]) -> ModelProto:
    with quiet(), torch.no_grad():
        try:
            program = Traced(traced(stretch, state))
            return TEMPLATES.of(program, partial(converted, list(state))).filled(program)
        except Exception as error:  # torch.export and the converter raise a dozen kinds
            raise ConfigError(refusal(stretch, error)) from error


def converted(inputs: list[str], traced: Traced) -> Any:
    """Convert a program to one of ONNX, which is not optimized yet."""
    made = torch.onnx.export(
        traced.program,
        dynamo=True,
        opset_version=OPSET,
        input_names=inputs,
        output_names=[NEXT + key for key in traced.outputs],
        custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
        verbose=False,
        optimize=False,
    )
    assert made is not None
    return made


def stable_sort(self: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Sort stably with TopK, which by definition ranks the earlier of two equal values first."""
    from onnxscript import opset20

    op: Any = opset20
    size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))
    return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)


def refusal(stretch: Stretch, error: Exception) -> str:
    """Say in one line which code stopped the trace, and why."""
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    slots = ["reduction" for cause in causes if isinstance(cause, Lost)]
    traces = (walk_tb(cause.__traceback__) for cause in causes)
    reached = {type(frame.f_locals.get("self")) for trace in traces for frame, _ in trace}
    slots += [slot for slot, method in stretch.methods.items() if type(method) in reached]
    what = f"layers {stretch.first} to {stretch.last}"
    if slots:
        what = f"{slots[0]}={kind_of(slots[0], type(stretch.methods[slots[0]]))}"
    message = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{what} cannot be exported to ONNX: {message}"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' log messages."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
