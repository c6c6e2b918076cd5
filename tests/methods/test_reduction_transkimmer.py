"""Transkimmer: a predictor by hand, straight-through gates, and what is forwarded to the end."""

import pytest
import torch
import torch.nn.functional as F
from helpers.models import packed, ragged, tiny

from eat_lightning.methods.reduction.transkimmer import Transkimmer
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.heads import pool_mean


class ByFirst(torch.nn.Module):
    """Logits of skim and keep: 0 and the vector's first value."""

    def forward(self, x_ND):
        return torch.stack([torch.zeros_like(x_ND[:, 0]), x_ND[:, 0]], -1)


def by_hand(**changes) -> Transkimmer:
    made = Transkimmer(**{"layers": [1], **changes})
    made.predictors = torch.nn.ModuleDict({"1": ByFirst()})
    return made


ROWS = [[-3.0, 1.0], [2.0, 2.0], [-1.0, 4.0], [0.5, 8.0], [1.0, 1.0], [-2.0, 5.0]]


def rows(strength: float = 1.0):
    return packed(ROWS, [4, 2], strength)


@pytest.mark.parametrize(
    ("changes", "strength", "kept"),
    [
        ({}, 1.0, [0, 1, 3, 4]),  # [CLS] stays though it would go
        ({"threshold": 0.7}, 1.0, [0, 1, 4]),  # sigmoid(.5) = .62, sigmoid(1) = .73
        ({"threshold": 0.0}, 1.0, [0, 1, 2, 3, 4, 5]),
        ({}, 0.5, [0, 1, 2, 3, 4]),  # at least .25: sigmoid(-1) = .27, sigmoid(-2) = .12
        ({}, 0.0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_who_stays(changes: dict, strength: float, kept: list[int]):
    short = by_hand(**changes).eval()(rows(strength), Evidence(), 1)
    assert short.x_ND.tolist() == [ROWS[i] for i in kept]


def test_what_is_skimmed_counts_in_the_mean_as_it_was():
    short = by_hand().eval()(rows(), Evidence(), 1)
    later = short.with_x(torch.zeros_like(short.x_ND))  # what layers make of those that stayed
    mean_BD = pool_mean(later)
    torch.testing.assert_close(mean_BD, torch.tensor([[-1 / 4, 4 / 4], [-2 / 2, 5 / 2]]))
    second = pool_mean(later.only(torch.tensor([False, True])))
    torch.testing.assert_close(second, mean_BD[1:])


def without_noise(logits):
    return logits.softmax(-1)


def test_soft_gates_and_the_skim_loss_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(F, "gumbel_softmax", without_noise)
    made = by_hand(penalty=0.6, layers=[1, 2])
    made.predictors["2"] = ByFirst()
    once = made.soften(rows(), Evidence(), 1)
    assert once.x_ND.tolist() == ROWS
    assert once.size_N.tolist() == [1, 1, 0, 1, 1, 0]
    assert once.penalties["skim"].tolist() == pytest.approx([0.3 * 3 / 4, 0.3 * 1 / 2])
    twice = made.soften(once.with_x(-once.x_ND), Evidence(), 2)  # who went stays gone
    assert twice.size_N.tolist() == [1, 0, 0, 0, 1, 0]
    assert twice.penalties["skim"].tolist() == pytest.approx([0.3 * 4 / 4, 0.3 * 2 / 2])
    assert twice.forwarded_B.tolist() == [3, 1]
    # The third as it was at first, the second and the fourth as they are now.
    assert twice.forwarded_BD[0].tolist() == [-1 - 2 - 0.5, 4 - 2 - 8]


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_soft_gates_equal_dropped_rows(pool: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(F, "gumbel_softmax", without_noise)
    sizes = {"dropout": 0.0, "attention_dropout": 0.0}
    encoder = tiny("dense", "transkimmer", head={"pool": pool}, **sizes)
    dropped = encoder(ragged())
    assert (dropped.tokens_LB[0] < ragged().lengths_B).any()  # on the embedding already
    soft = encoder.train()(ragged())
    assert (soft.tokens_LB == ragged().lengths_B).all()
    torch.testing.assert_close(soft.logits_BC, dropped.logits_BC, atol=1e-4, rtol=1e-4)


def test_predictors_learn_under_any_schedule_and_rest_where_frozen():
    torch.manual_seed(0)
    encoder = tiny("dense", "transkimmer").train()
    trace = encoder(ragged())
    (trace.logits_BC.square().sum() + trace.inside.penalties["skim"].sum()).backward()
    for predictor in encoder.reduction.predictors.values():
        assert all(p.grad.abs().sum() > 0 for p in predictor.parameters())
    encoder.reduction.requires_grad_(False)
    assert (encoder(ragged()).tokens_LB[-1] < ragged().lengths_B).any()
