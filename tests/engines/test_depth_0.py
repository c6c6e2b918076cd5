"""Pairs of texts leave at depth 0 in each engine as they do in torch, by heads on the embedding."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.gateways import plan
from helpers.pairs_at_0 import PAIRS, leaving_at_0, make_pairs_run, pairs_batch

from eat_lightning.engines.open import open_backend
from eat_lightning.export.graph import NEXT, graph
from eat_lightning.export.trace import sample, stretches
from eat_lightning.infer.sessions import ENGINES, engine_faults
from eat_lightning.model.recorder import ALL_EXITS

pytest.importorskip("onnxscript")
KINDS = ["aligned", "pair"]


@pytest.fixture(params=[*ENGINES])
def engine(request: pytest.FixtureRequest) -> str:
    if faults := engine_faults(request.param):
        pytest.skip(faults[0])
    return request.param


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by the kind of their heads; engines keep graphs in them."""
    return {kind: make_pairs_run(tmp_path_factory.mktemp(kind) / "run", kind) for kind in KINDS}


@cache
def first_graph(kind: str) -> bytes:
    """The embedding and the head on it, for a batch."""
    first = stretches(leaving_at_0(kind), alone=False)[0]
    return graph(first, sample(first, 0)).SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_graph_guesses_and_decides_as_the_encoder_does(
    kind: str, engine: str, tmp_path: Path
):
    (tmp_path / "layers-0.onnx").write_bytes(first_graph(kind))
    session = ENGINES[engine](tmp_path / "layers-0.onnx", 1, "fp32")
    encoder, batch = leaving_at_0(kind), pairs_batch()
    state = {name: getattr(batch, name).numpy() for name in ("ids_N", "types_N", "lengths_B")}
    found = dict(zip(session.gives, session(state), strict=True))
    with torch.no_grad():
        guess_BC, depth_B = encoder(batch, ALL_EXITS).guesses[0], encoder(batch).depth_B
    np.testing.assert_allclose(found[f"{NEXT}logits_BC"], guess_BC, atol=1e-4)
    assert (found[f"{NEXT}reason_B"] > 0).tolist() == (depth_B == 0).tolist()
    assert {*depth_B.tolist()} == {0, 1, 2}


def answered(run: Path, backend: str, dtype: str) -> tuple[list[Any], list[Any]]:
    """They do in a batch, and one by one."""
    given = {"run": str(run), "backend": backend, "dtype": dtype, "threads": 1, "long": "cut"}
    opened = open_backend(plan(**given))
    return opened.answer(PAIRS), [opened.answer([pair])[0] for pair in PAIRS[:6]]


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert our["confidence"] == pytest.approx(their["confidence"], abs=1e-4)
        assert {**our, "confidence": 0} == {**their, "confidence": 0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_an_engine_leaves_at_0_as_in_torch(kind: str, engine: str, runs: dict[str, Path]):
    ours, theirs = (answered(runs[kind], name, "fp32") for name in ("torch", engine))
    for our, their in zip(ours, theirs, strict=True):
        assert_same(their, our)
        assert {answer["depth"] for answer in our} == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_in_int8_the_same_leave_at_0_with_the_answers_of_torch(
    kind: str, engine: str, runs: dict[str, Path]
):
    """A head is in fp32; whoever goes on meets int8, which each engine rounds in its own way."""
    ours, theirs = (answered(runs[kind], name, "int8") for name in ("torch", engine))
    for our, their in zip(ours, theirs, strict=True):
        early, found = ([a for a in each if a["depth"] == 0] for each in (our, their))
        assert_same(found, early)
        assert [a["depth"] == 0 for a in their] == [a["depth"] == 0 for a in our]
        assert 0 < len(early) < len(our)
        assert np.mean([a["label"] == b["label"] for a, b in zip(our, their, strict=True)]) > 0.8
    fp32, _ = answered(runs[kind], "torch", "fp32")
    assert [a["confidence"] for a in theirs[0]] != [a["confidence"] for a in fp32]
