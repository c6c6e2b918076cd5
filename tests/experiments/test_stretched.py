"""An encoder run stretch by stretch is the encoder, plain, traced and compiled."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from benches import config
from exports import make_run
from models import alone, each_once, portable, ragged, tiny

from eat_lightning.export.graph import quiet, traced
from eat_lightning.model.encoder import AdaptiveEncoder
from experiments.bench import __main__ as entry
from experiments.bench.compiled import by_dynamo
from experiments.bench.stretched import Stretched

LENGTHS = (9, 3, 14, 2, 7, 11, 5)


def assert_same(
    encoder: AdaptiveEncoder,
    stretched: Stretched,
    lengths: Sequence[int] = LENGTHS,
    **close: float,
) -> None:
    """Of a batch, of singles, and of batches of which one example is left."""
    with torch.inference_mode():
        for batch in (ragged(lengths), ragged((12, 4)), *alone(ragged(lengths))):
            wanted, found = encoder(batch), stretched(batch)
            assert torch.equal(found.depth_B, wanted.depth_B)
            assert torch.equal(found.reason_B, wanted.reason_B)
            assert torch.equal(found.tokens_LB, wanted.tokens_LB)
            torch.testing.assert_close(found.logits_BC, wanted.logits_BC, **close)


@pytest.mark.parametrize(
    ("attention", "reduction", "exit"),
    each_once(*map(portable, ("attention", "reduction", "exit"))),
)
def test_stretch_by_stretch(attention: str, reduction: str, exit: str):
    encoder = tiny(attention, reduction, exit)
    stretched = Stretched(encoder, lambda stretch, state: stretch)
    assert_same(encoder, stretched, atol=1e-5, rtol=1e-5)


def program(stretch: Any, state: Any) -> Any:
    with quiet(), torch.no_grad():
        return traced(stretch, state).module()


@pytest.mark.nightly
@pytest.mark.parametrize("reduction", ["norm_topk", "cls_topk"])
def test_traced(reduction: str):
    encoder = tiny("dense", reduction, "confidence")
    assert_same(encoder, Stretched(encoder, program), atol=1e-5, rtol=1e-5)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_lengths_and_sizes_compile_nothing_anew():
    """Once batches of two sizes were seen: dynamo takes the first size for a constant."""

    def make(stretch: Any, state: Any) -> Any:
        call = by_dynamo(program(stretch, state), "compiled")
        with quiet(), torch.inference_mode():
            call({name: value.clone() for name, value in state.items()})
        return call

    encoder = tiny("dense", "norm_topk", "confidence")
    stretched = Stretched(encoder, make)
    close = {"atol": 1e-4, "rtol": 1e-4}
    assert_same(encoder, stretched, LENGTHS, **close)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert_same(encoder, stretched, (8, 15, 2, 6, 13, 4, 10, 3, 5), **close)


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_all_are_compiled_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "eat", "dense", "norm_topk", "confidence")
    given = {"what": "compiled", "compilers": ["compiled"], "batches": [1, 4]}
    rows = entry.bench(config(tmp_path, run=str(run), **given))
    names = {row.candidate for row in rows}
    hows = ("", "compiled ")
    assert {f"{who} {how}fp32" for who in ("HF", "static", "EAT") for how in hows} <= names
    assert {row.race for row in rows} == {"compiled-fp32"}
    at = {row.candidate: row for row in rows if row.batch == 4}
    assert at["EAT compiled fp32"].depth == at["EAT fp32"].depth
    assert "EAT compiled fp32: made in" in capsys.readouterr().out
