"""An exit before the first layer: a head on the embedding, at depth 0."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import kinds, ragged, spread, tiny
from torch.utils.flop_counter import FlopCounterMode

from eat_lightning.infer.depth_batching import Pool
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.reduction.first import First
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.new import checks
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record

LAYERS = [0, 2, 4]
HEAD: dict[str, Any] = {"layers": LAYERS, "pool": "mean", "activation": None}
LENGTHS = (5, 9, 12, 7, 16, 8, 11, 6)


def encoder_at_0(reduction: str = "none", tau: float = 0.6, **head: Any) -> AdaptiveEncoder:
    """Some leave at 0, some later, some at the end."""
    encoder = tiny("dense", reduction, "never", head=HEAD | head)
    spread(encoder.heads)
    encoder = encoder.replacing(exit=Confidence(tau, LAYERS))
    return encoder.eval()


def test_the_guess_at_0_is_that_of_the_pooled_embedding():
    encoder, batch = encoder_at_0(), ragged(LENGTHS)
    x_ND = encoder.embedding(batch, batch.layout().index_N)
    means_BD = torch.stack([x_TD.mean(0) for x_TD in x_ND.split(batch.lengths_B.tolist())])
    expected_BC = encoder.heads["0"].classes(means_BD)
    torch.testing.assert_close(encoder(batch, ALL_EXITS).guesses[0], expected_BC)


@pytest.mark.parametrize("reduction", ["none", "norm_topk", "first"])
def test_promises_hold_at_depth_0(reduction: str):
    """Batch of N as N of one, stream, replay, saving, a depth-wise pool, and FLOPs that rise."""
    encoder = encoder_at_0(reduction)
    if reduction == "first":  # acts on the embedding, behind the exit there
        encoder = encoder.replacing(reduction=First(0.4, [0, 2]))
    depths = encoder(ragged(LENGTHS)).depth_B.tolist()
    assert 0 in depths
    assert len({*depths}) > 1
    checks.batch_is_its_examples(encoder)
    checks.stream_is_the_batch(encoder)
    checks.replay_is_the_live_run(encoder)
    checks.what_is_saved_comes_back(encoder)
    checks.flops_fall_with_the_work(encoder)
    batch = ragged(LENGTHS)
    trace = encoder(batch)
    with torch.inference_mode():
        pool = Pool(encoder, size=3)
        done = [*pool.add(range(len(LENGTHS)), batch), *pool.flush()]
    for names, part in done:
        assert part.depth_B.tolist() == trace.depth_B[names].tolist()
        torch.testing.assert_close(part.logits_BC, trace.logits_BC[names], atol=1e-4, rtol=1e-4)


def test_who_leaves_at_0_meets_no_layer(monkeypatch: pytest.MonkeyPatch):
    encoder, batch = encoder_at_0().replacing(exit=Fixed(0)), ragged(LENGTHS)
    monkeypatch.setattr(AdaptiveEncoder, "run_layer", None)
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [0] * len(LENGTHS)
    assert trace.tokens_LB.sum() == 0
    assert trace.retention_B.tolist() == [1.0] * len(LENGTHS)


@pytest.mark.parametrize("kind", [*kinds("head")])
def test_flops_at_0_are_the_heads(kind: str):
    """Look-ups are no operations: torch's counter sees the head's products alone."""
    encoder = tiny("dense", "norm_topk", "never", head={"kind": kind, "layers": LAYERS})
    encoder = encoder.replacing(exit=Fixed(0))
    batch = ragged((12,))
    tokens_LB = encoder(batch, ALL_EXITS).tokens_LB.numpy()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        assert encoder(batch).depth_B.tolist() == [0]
    found = flops(encoder, encoder.exit, tokens_LB, np.array([0]), batch.lengths_B.numpy())
    if kind == "attention":  # the stock counter drops attention on a CPU (pytorch#195460)
        assert found[0] > counter.get_total_flops()
        return
    assert found[0] == counter.get_total_flops()


def test_records_rows_and_files_know_depth_0(tmp_path: Path):
    encoder, batch = encoder_at_0(), ragged(LENGTHS)
    recorded = record(encoder, checks.Examples(batch))
    recorded.to_parquet(tmp_path / "examples.parquet")
    again = Record.read(tmp_path / "examples.parquet")
    assert [*again.guesses] == [0, 2, 4, 6]
    outcome = again.replay(Fixed(0))
    assert outcome.exit_shares == {0: 1.0}
    assert again.token_layers_B(outcome).tolist() == [0.0] * len(LENGTHS)
    assert outcome.retention_B.tolist() == [1.0] * len(LENGTHS)
