"""Graphs that are converted once, and filled with the weights of each stretch."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from helpers.exports import small
from helpers.models import method
from torch import Tensor

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.reason import FIRST_REASON, Reason

if find_spec("onnx") is None or find_spec("onnxruntime") is None:
    pytest.skip("needs onnx and onnxruntime, from the extra `onnx`", allow_module_level=True)

from eat_lightning.bundle.graphs import graph
from eat_lightning.bundle.graphs.template import Templates
from eat_lightning.bundle.graphs.trace import Stretch, sample

NOBODY, EVERYBODY = 0.999999, 0.000001  # values of tau


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch) -> Templates:
    made = Templates()
    monkeypatch.setattr(graph, "TEMPLATES", made)
    return made


def with_taus(encoder: AdaptiveEncoder, *taus: float) -> AdaptiveEncoder:
    return encoder.replacing(exit=method("exit", "confidence", layers=[1, 2], tau=[*taus]))


def answers(encoder: AdaptiveEncoder, layer: int) -> dict[str, Tensor]:
    """Run the graph of one layer and its exit, and check that it computes what the stretch does."""
    import onnxruntime

    stretch = Stretch(encoder, layer, layer, alone=True, begins=False)
    state = sample(stretch, layer - 1)
    state["x_ND"] = torch.randn(state["x_ND"].shape, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(graph.graph(stretch, state).SerializeToString())
    given = {value.name: state[value.name].numpy() for value in session.get_inputs()}
    names = [value.name.removeprefix(graph.NEXT) for value in session.get_outputs()]
    found = dict(zip(names, session.run(None, given), strict=True))
    with torch.inference_mode():
        wanted = stretch(state)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-4, atol=1e-5)
    return wanted


def test_layers_weights_and_points_share_one_graph(templates: Templates):
    encoder = small("dense", "none", "confidence", layers=[1, 2])
    stays = answers(with_taus(encoder, NOBODY, EVERYBODY), 1)
    leaves = answers(with_taus(encoder, EVERYBODY, NOBODY), 1)
    assert stays["reason_B"].tolist() == [Reason.STAYS]
    assert leaves["reason_B"].tolist() == [FIRST_REASON]
    with torch.no_grad():
        encoder.layers[0].up.weight.mul_(1.5)
    other = answers(with_taus(encoder, NOBODY, EVERYBODY), 1)
    assert not torch.equal(other["x_ND"], stays["x_ND"])
    assert len(templates.known) == 1


def test_a_weight_that_is_one_number_has_no_axes(templates: Templates):
    encoder = with_taus(small("dense", "none", "confidence", layers=[1, 2]), 0.9, 0.9)
    stretch = Stretch(encoder, 1, 1, alone=True, begins=False)
    [temperature] = [
        weight
        for weight in graph.graph(stretch, sample(stretch, 0)).graph.initializer
        if weight.name.endswith("heads.1.temperature")
    ]
    assert not temperature.dims


def test_how_many_guesses_came_before_is_the_same_to_a_rule_that_reads_one(templates: Templates):
    encoder = with_taus(small("dense", "none", "confidence", layers=[1, 2]), NOBODY, EVERYBODY)
    assert answers(encoder, 2)["reason_B"].tolist() == [FIRST_REASON]
    assert "guesses_EBC" not in sample(Stretch(encoder, 2, 2, alone=True, begins=False), 2)
    stretch = Stretch(encoder, 2, 2, alone=False, begins=False)
    graph.graph(stretch, sample(stretch, 2))
    before = len(templates.known)
    for num in (3, 4):
        graph.graph(stretch, sample(stretch, num))
    assert len(templates.known) == before


def test_graphs_of_a_rule_that_reads_earlier_exits_hand_their_guesses_on():
    for rule, handed in (("confidence", False), ("vote", True)):
        encoder = small("dense", "none", rule, layers=[1, 2])
        single, batch = (Stretch(encoder, 2, 2, alone, begins=False) for alone in (True, False))
        assert ("guesses_EBC" in sample(single, 1)) == handed
        assert "guesses_EBC" in sample(batch, 1)  # traces and policies read them


def test_another_computation_is_converted_anew(templates: Templates):
    answers(with_taus(small("dense", "none", "confidence", layers=[1, 2]), 0.9, 0.9), 1)
    rotary = {"relative": "rotary", "absolute_positions": False}
    answers(with_taus(small("dense", "none", "confidence", layers=[1, 2], **rotary), 0.9, 0.9), 1)
    answers(small("dense", "none", "entropy", layers=[1, 2]), 1)
    assert len(templates.known) == 3
