"""The classifier at full depth as one ONNX graph in the form that others expect.

Inputs are padded: input_ids, attention_mask and, of some, token_type_ids; the output is logits.
The graph's weights are those in model.safetensors, beside which it therefore lies.
"""

from __future__ import annotations

import sys

import torch
from torch.export import Dim

from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.graphs.graph import OPSET, quiet
from eat_lightning.bundle.graphs.weights import save_beside
from eat_lightning.bundle.original import Original
from eat_lightning.errors import one_line

CLOSE = 1e-3  # logits of the graph differ from transformers' by less


class Logits(torch.nn.Module):
    """transformers' model with its logits alone."""

    def __init__(self, model: torch.nn.Module, names: list[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def write_static_graph(original: Original, bundle: Bundle) -> None:
    """Write `model.onnx` beside the classifier's weights; where it cannot be made, say so and write
    none."""
    try:
        made(original, bundle)
    except OSError:
        raise  # the disk is full
    except Exception as error:  # exporters raise a dozen kinds, and not every family can be traced
        for path in (bundle.static_graph, bundle.static_weights):
            path.unlink(missing_ok=True)
        name, why = bundle.static_graph.name, one_line(error, 160)
        print(f"note: {name} could not be made ({why})", file=sys.stderr)


def made(original: Original, bundle: Bundle) -> None:
    """Export the graph, and compare it with the model at other sizes."""
    import onnxruntime

    texts = ["a text", "another and longer text"]
    given = original.tokenizer(texts, padding=True, return_tensors="pt")
    names = list(given)
    module = Logits(original.model, names)
    sizes = {0: Dim("batch"), 1: Dim("sequence", max=original.max_length)}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            tuple(given.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=(tuple(sizes for _ in names),),
            verbose=False,
        )
        assert program is not None
        save_beside(program.model_proto, bundle)
        other = original.tokenizer(["one " * 9], return_tensors="pt")
        session = onnxruntime.InferenceSession(
            str(bundle.static_graph), providers=["CPUExecutionProvider"]
        )
        (logits,) = session.run(None, {name: other[name].numpy() for name in names})
        gap = (torch.as_tensor(logits) - module(*other.values())).abs().max().item()
    if not gap < CLOSE:
        raise ValueError(f"its logits differ by {gap:.2g}")
