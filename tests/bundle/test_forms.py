"""`prepack` in every command that answers: the same answers, told in rows and certificates."""

import gc
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.certificates import FREE, call, config_of, make_run, measured
from helpers.finished import refused
from helpers.gateways import plan

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.drift.command import drift
from eat_lightning.deploy.predict import command as predict
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.evaluation.command import measure
from eat_lightning.runs.run import Run
from eat_lightning.weights import prepacked
from eat_lightning.weights.precision import PLAIN, PREPACKED, form_of
from eat_lightning.weights.prepacked import PrepackedLinear

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="a PyTorch without oneDNN"
)
TEXTS = ["good", "not bad film", "a fine film and not a bad one", "bad", "film", "not good"]
LINES = [text.encode() for text in TEXTS]
WITHOUT = "prepack=true: prepacked weights need a PyTorch that has oneDNN"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def no_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepacked.torch.backends.mkldnn, "is_available", lambda: False)


def answerer(run: Path, prepack: bool | None = None, dtype: str = "fp32", **how: Any) -> TorchModel:
    exit = FREE if how.get("certificate") else FREE | {"tau": 0.9}
    return TorchModel.open(run, exit=exit, dtype=dtype, prepack=prepack, **how)


def is_prepacked(encoder: Any) -> bool:
    return isinstance(encoder.layers[0].qkv, PrepackedLinear)


def assert_alike(ours: list[dict], theirs: list[dict]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one | {"confidence": 0} == other | {"confidence": 0}
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_where_pytorch_has_no_onednn(run: Path, no_onednn: None):
    assert form_of(None, "fp32") == PLAIN
    assert not is_prepacked(answerer(run).encoder)
    actions = {"measure": measure, "predict": predict.predict, "drift": drift}
    for entry, action in actions.items():
        assert refused(action, config_of(entry, run, "prepack=true")) == WITHOUT
    assert refused(call, run, "risk=harm", "level=0.3", "prepack=true") == WITHOUT
    assert refused(lambda: plan(prepack=True)) == WITHOUT


def plain_matrices(shapes: set[torch.Size]) -> int:
    """How many weights of these shapes lie in memory."""
    gc.collect(2)
    kept = [each for each in gc.get_objects() if type(each) is torch.nn.Parameter]
    return sum(each.shape in shapes for each in kept)


def test_no_plain_matrix_is_kept(run: Path):
    """Their biases are, and what lies beside the layers."""
    encoder, _ = Run.open(run).model()
    others = {name for name in prepacked.LINEARS if name != "out"}  # heads have that shape too
    shapes = {getattr(encoder.layers[0], name).weight.shape for name in others}
    assert (whole := plain_matrices(shapes)) >= 3 * 6
    del encoder
    ready, gateway = answerer(run), open_model(plan(run=str(run), threads=1))
    assert plain_matrices(shapes) <= whole - 3 * 6
    assert ready.encoder.embedding.word.weight.shape[0] > 0
    assert is_prepacked(gateway.backend.encoder)


def test_rows_say_their_form(run: Path):
    given = ["exit.tau=0.9", "baselines=fixed", "timing.enabled=false"]
    packed, plain = (
        measure(config_of("measure", run, *given, f"prepack={prepack}"))
        for prepack in ("null", "false")
    )
    assert ({row.form for row in packed}, {row.form for row in plain}) == ({PREPACKED}, {PLAIN})
    assert packed[0].weights == "fp32 prepacked"
    assert packed[0].examples != plain[0].examples
    for ours, theirs in zip(packed, plain, strict=True):
        same = ("depth", "retention", "token_layers", "flops", "accuracy", "exit_shares")
        assert [getattr(ours, n) for n in same] == [getattr(theirs, n) for n in same]


def test_a_certificate_is_followed(run: Path):
    for prepack, form in (("null", PREPACKED), ("false", PLAIN)):
        held = call(run, "risk=harm", "level=0.4", f"name={form}", f"prepack={prepack}")
        assert (held.form, held.holds_for["form"]) == (form, form)
        assert not held.fallback
        for ready in (
            answerer(run, certificate=form),
            open_model(plan(run=str(run), threads=1, certificate=form)).backend,
        ):
            assert is_prepacked(ready.encoder) == (form == PREPACKED)
        (row,) = measured(run, form)
        assert row.form == form
    packed, plain = (answerer(run, certificate=form)(LINES) for form in (PREPACKED, PLAIN))
    assert_alike(packed, plain)
