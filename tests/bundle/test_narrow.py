"""Narrowing: who matters least leaves, and where that gave nothing, all is as it was."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.exports import exported, make_run
from helpers.finished import refused
from helpers.models import ragged, tiny

from eat_lightning.bundle.graphs.narrow import narrowed, width_faults
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.baselines import HuggingFaceTwin
from eat_lightning.methods.objective._importance import Importance, best_of, importance
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import static_flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.widths import in_order, living
from eat_lightning.record.passes import record
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_model, load_pretrained, save_model

SILENT_HEAD, SILENT_INNER = 1, 5


def with_labels(lengths: tuple[int, ...] = (9, 1, 14, 2, 7)) -> Batch:
    batch = ragged(lengths)
    batch.labels_B = torch.arange(batch.size) % 3
    return batch


def silenced(**given: str) -> AdaptiveEncoder:
    """An encoder in which one head and one neuron of each layer give nothing."""
    encoder = tiny(**given)
    with torch.no_grad():
        for layer in encoder.layers:
            layer.out.weight[:, 4 * SILENT_HEAD : 4 * SILENT_HEAD + 4] = 0
            layer.down.weight[:, SILENT_INNER] = 0
    return encoder


@pytest.mark.parametrize("reduction", ["none", "norm_topk"])
def test_without_those_that_give_nothing_all_is_as_it_was(reduction: str):
    encoder = silenced(reduction=reduction, exit="berxit")
    found = importance(encoder, [with_labels()])
    assert found.heads_LH.argmin(1).tolist() == [SILENT_HEAD] * 6
    assert found.inner_LF.argmin(1).tolist() == [SILENT_INNER] * 6
    made = narrowed(encoder, best_of(found, 3, 23))
    assert made.layers[0].qkv.weight.shape == (3 * 12, 16)
    assert made.layers[0].up.weight.shape == (23, 16)
    with torch.no_grad():
        before, after = encoder(ragged()), made(ragged())
    torch.testing.assert_close(after.logits_BC, before.logits_BC, atol=1e-4, rtol=1e-4)
    assert torch.equal(after.depth_B, before.depth_B)


def test_importance_is_the_derivative_by_a_gate():
    """Against a difference: one head's output a little larger."""
    encoder, batch = tiny(), with_labels()
    found = importance(encoder.double(), [batch])

    def loss(gate: float) -> float:
        with torch.no_grad():
            weight = encoder.layers[2].out.weight
            kept = weight.clone()
            weight[:, 8:12] *= gate
            logits_BC = encoder(batch).logits_BC
            weight.copy_(kept)
        return F.cross_entropy(logits_BC, batch.labels_B, reduction="sum").item()

    slope = (loss(1.001) - loss(0.999)) / 0.002
    assert found.heads_LH[2, 2].item() == pytest.approx(abs(slope), rel=0.01)


def test_who_stays_by_hand():
    found = Importance(torch.tensor([[2.0, 5.0, 1.0, 2.0]] * 6), torch.arange(24.0).repeat(6, 1))
    encoder = tiny()
    made = narrowed(encoder, best_of(found, 2, 4))
    q, own_q = made.layers[3].qkv.weight[:8], encoder.layers[3].qkv.weight[:16]
    assert torch.equal(q, own_q[:8])  # heads 0 and 1: of equal ones the first
    assert torch.equal(made.layers[3].up.bias, encoder.layers[3].up.bias[20:])
    assert torch.equal(made.layers[3].down.weight, encoder.layers[3].down.weight[:, 20:])


def test_a_narrowed_encoder_is_saved_loaded_trained_further_and_counted(tmp_path: Path):
    encoder = tiny(reduction="norm_topk", exit="confidence")
    made = narrowed(encoder, best_of(importance(encoder, [with_labels()]), 1, 6))
    save_model(made, ["a", "b", "c"], tmp_path)
    loaded, _ = load_model(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(ragged()).logits_BC, made(ragged()).logits_BC)
    off = tiny()
    slots = {"attention": off.attention, "reduction": off.reduction, "exit": off.exit}
    body = load_pretrained(str(tmp_path), 3, **slots, head={}, num_layers=4, take="alternate")
    assert body.shape.attention_width == 4
    assert torch.equal(body.layers[3].out.weight, made.layers[5].out.weight)
    lost = static_flops(encoder, [10]) - static_flops(made, [10])
    products, projections, feed_forward = 4 * 12 * 10**2, 8 * 10 * 16 * 12, 4 * 10 * 16 * 18
    assert lost == pytest.approx([6 * (products + projections + feed_forward)])


def test_what_cannot_be_narrowed():
    (fault,) = width_faults(tiny(relative_buckets=8), 2, 24)
    assert fault.startswith("heads must be 4, got 2: this encoder's layers share a relative")
    encoder = tiny("nystrom")
    with pytest.raises(ConfigError, match="heads: a method of this run has a weight for each"):
        narrowed(encoder, best_of(importance(encoder, [with_labels()]), 2, 24))


def test_layers_may_differ(tmp_path: Path):
    """Heads and neurons that give nothing leave, more of them in one layer than in another."""
    encoder = tiny(reduction="norm_topk", exit="confidence")
    with torch.no_grad():
        encoder.layers[1].out.weight[:, 4:] = 0  # head 0 is left
        encoder.layers[2].down.weight[:, :20] = 0
        encoder.layers[3].out.weight.zero_()  # and here one that gives nothing
    made = narrowed(encoder, living(encoder))
    assert made.shape.heads_by_layer == (4, 1, 4, 1, 4, 4)
    assert made.shape.inner_by_layer == (24, 24, 4, 24, 24, 24)
    batch = ragged()
    with torch.no_grad():
        torch.testing.assert_close(made(batch).logits_BC, encoder(batch).logits_BC)
    save_model(made, ["a", "b", "c"], tmp_path)
    loaded, _ = load_model(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits_BC, made(batch).logits_BC)
    twin = HuggingFaceTwin(narrowed(silenced(), living(silenced())))
    assert twin(twin.ready(ragged((9, 5)))).shape == (2, 3)
    lost = static_flops(encoder, [10]) - static_flops(made, [10])
    heads = 6 * (4 * 4 * 10**2 + 8 * 10 * 16 * 4)
    assert lost == pytest.approx([heads + 4 * 10 * 16 * 20])


def test_layers_leave():
    encoder = tiny()
    kept = in_order(encoder, 4, 24, 3)
    assert kept.layers == [0, 2, 4]
    made = narrowed(encoder, kept)
    with torch.no_grad():
        short = encoder(ragged(), PassOptions(skips=frozenset({2, 4, 6})))
        torch.testing.assert_close(made(ragged()).logits_BC, short.logits_BC)
    assert width_faults(encoder, 4, 24, 9) == ["layers must be in 1..6, got 9"]


def test_a_shared_bias_keeps_its_heads():
    encoder = tiny(relative_buckets=8)
    with torch.no_grad():
        encoder.layers[0].out.weight.zero_()
        encoder.layers[0].down.weight[:, 4:] = 0
    made = narrowed(encoder, living(encoder))
    assert (made.shape.num_heads, made.shape.inner_by_layer) == (4, (4, 24, 24, 24, 24, 24))
    with torch.no_grad():
        torch.testing.assert_close(made(ragged()).logits_BC, encoder(ragged()).logits_BC)


UNCHANGED = {"tau": None, "layers": None, "patience": None}
LINES = [b"good film", b"not very good at all", b"the film is not bad but the plot is dull"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "sst2-eat-s1"
    return make_run(folder, "dense", "norm_topk", "confidence")


def test_it_is_the_encoder_ranked_on_training_data(run: Path):
    to = exported(run, "target=encoder", "heads=2", "inner=9", "examples=20", to="narrow")
    encoder, labels = Run.open(to).model()
    shape = encoder.shape
    assert (shape.num_heads, shape.head_width, shape.intermediate_size) == (2, 4, 9)
    whole, labels_of_run = Run.open(run).model()
    split = Run.open(run).data().split("train")
    rows = np.linspace(0, len(split) - 1, 20).round().astype(np.int64)
    found = importance(whole, [split.batch(rows[i : i + 8]) for i in (0, 8, 16)])
    with torch.no_grad():
        wanted_BC = narrowed(whole, best_of(found, 2, 9))(ragged()).logits_BC
        assert torch.equal(encoder(ragged()).logits_BC, wanted_BC)
    assert labels == labels_of_run
    about = json.loads((to / "narrowed.json").read_text())
    assert (about["run"], about["heads"], about["inner"]) == ("sst2-eat-s1", [2] * 3, [9] * 3)


def test_commands_take_it(run: Path):
    to = exported(run, "target=encoder", "heads=3", to="narrow3")
    narrow = Run.open(to)
    assert narrow.config["model"] == "sst2-eat-s1-h3-i24"
    answers = TorchModel.open(narrow.folder, exit=UNCHANGED)(LINES)
    assert [*answers[0]] == [*TorchModel.open(run, exit=UNCHANGED)(LINES)[0]]
    outcome = record(narrow.model()[0], narrow.data().split("validation"), batch_size=8).replay()
    assert np.isfinite(outcome.logits_BC).all()


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("onnx") is None, reason="needs the extra `onnx`")
def test_and_so_does_an_export_to_onnx(run: Path):
    to = exported(run, "target=encoder", "heads=2", "inner=12", to="narrow2")
    graphs = exported(to, "check=all", to="narrow2-onnx")
    about = json.loads((graphs / "export.json").read_text())
    assert about["agreement"]["batch_32"]["largest_gap"] < 1e-4


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            ["target=encoder"],
            "target=encoder narrows a run: give heads=, inner= or layers= (this",
        ),
        (["target=encoder", "layers=2"], "layers must be 3, got 2: early heads"),
        (["target=encoder", "heads=5"], "heads must be in 1..4, got 5"),
        (["target=encoder", "inner=0"], "inner must be 1 or more, got 0"),
        (["target=encoder", "heads=2", "dtype=int8"], "dtype must be fp32 with target=encoder"),
        (["heads=2"], "heads must be null except with target=encoder, got 2"),
    ],
)
def test_faults(run: Path, given: list[str], fault: str):
    assert fault in refused(exported, run, *given, to="never")
    assert not run.with_name("never").exists()
