"""Reductions that learn (LTP, PoWER-BERT, Transkimmer), by hand: who stays, what gates do while
they are soft, and what gets a gradient."""

from typing import Any

import pytest
import torch
from helpers.models import packed, ragged, tiny, tiny_shape

from eat_lightning.methods.reduction.ltp import LearnedTokenPruning
from eat_lightning.methods.reduction.power_bert import PowerBert
from eat_lightning.methods.reduction.transkimmer import Transkimmer
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.heads import pool_mean
from eat_lightning.model.packed import Packed

LENGTHS = [4, 2]  # the last of each is [SEP]
ROWS = [[-3.0, 1.0], [2.0, 2.0], [-1.0, 4.0], [0.5, 8.0], [1.0, 1.0], [-2.0, 5.0]]
# Means over t: .25 .1 .4 .25 | .45 .05. Without a token's own: 0 .1 .9 .5 | 0 .1.
SEEN = Evidence(
    received_N=torch.tensor([1.0, 0.4, 1.6, 1.0, 0.9, 0.1]),
    diagonal_N=torch.tensor([1.0, 0.3, 0.7, 0.5, 0.9, 0.0]),
)
ALL = [0, 1, 2, 3, 4, 5]
TWO = [1.0, 1.0, 0.0, 0.0]  # of four ranks the first two


def rows(strength: float = 1.0) -> Packed:
    given = packed(ROWS, LENGTHS, strength)
    given.original_B = torch.tensor(LENGTHS)
    return given


def ltp(**changes: Any) -> LearnedTokenPruning:
    """Its threshold is 0.2 at layer 5 of 6."""
    made = LearnedTokenPruning(**{"layers": [1, 5], "final": 0.3, **changes})
    made.bind(tiny_shape(), [6], 3)
    return made


def power_bert(masses: list[float], **changes: Any) -> PowerBert:
    """Retention of the first ranks; the rest 0."""
    made = PowerBert(**{"layers": [1, 2], **changes})
    made.bind(tiny_shape(), [6], 3)
    with torch.no_grad():
        made.retention.zero_()
        made.retention[:, : len(masses)] = torch.tensor(masses)
    return made


SURE = 1e6  # logits so far apart that no noise moves a gate


class ByFirst(torch.nn.Module):
    """Logits of skim and keep: 0, and the vector's first value so many times."""

    def __init__(self, times: float):
        super().__init__()
        self.times = times

    def forward(self, x_ND):
        return torch.stack([torch.zeros_like(x_ND[:, 0]), self.times * x_ND[:, 0]], -1)


def transkimmer(times: float = 1.0, **changes: Any) -> Transkimmer:
    made = Transkimmer(**{"layers": [1], **changes})
    made.predictors = torch.nn.ModuleDict({str(layer): ByFirst(times) for layer in made.layers})
    return made


@pytest.mark.parametrize(
    ("made", "layer", "strength", "kept"),
    [
        (ltp(), 5, 1.0, [0, 2, 3, 4, 5]),  # 0.1 is below 0.2; [SEP] is protected
        (ltp(protect_sep=False), 5, 1.0, [0, 2, 3, 4]),
        (ltp(scale=1.5), 5, 1.0, [0, 2, 3, 4, 5]),  # [CLS] of 0.25 stays below 0.3 too
        (ltp(scale=0.0), 5, 1.0, ALL),
        (ltp(scale=0.4), 5, 1.0, ALL),
        (ltp(), 5, 0.0, ALL),
        (power_bert(TWO), 1, 1.0, [0, 2, 4, 5]),  # [CLS] and the best other of four
        (power_bert([1.0, 0.5, 0.1, 0.0]), 1, 1.0, [0, 2, 4, 5]),  # ceil(1.6), of two ceil(1.5)
        (power_bert([0.0]), 1, 1.0, [0, 4]),  # never less than [CLS]
        (power_bert(TWO, extent=0.5), 1, 1.0, [0, 2, 3, 4, 5]),
        (power_bert(TWO, extent=0.0), 1, 1.0, ALL),
        (power_bert(TWO), 1, 0.0, ALL),
        (transkimmer(), 1, 1.0, [0, 1, 3, 4]),  # [CLS] stays though it would go
        (transkimmer(threshold=0.7), 1, 1.0, [0, 1, 4]),  # sigmoid(.5) = .62, sigmoid(1) = .73
        (transkimmer(threshold=0.0), 1, 1.0, ALL),
        (transkimmer(), 1, 0.5, [0, 1, 2, 3, 4]),  # at least .25: sigmoid(-1) = .27, of -2 .12
        (transkimmer(), 1, 0.0, ALL),
    ],
)
def test_who_stays(made: Any, layer: int, strength: float, kept: list[int]):
    short = made.eval()(rows(strength), SEEN, layer)
    assert short.x_ND.tolist() == [ROWS[i] for i in kept]


def test_thresholds_rise_with_the_layer_and_are_learned():
    made = ltp()
    assert [made._threshold(layer).item() for layer in (1, 5)] == pytest.approx([0.0, 0.2])
    with torch.no_grad():
        made.delta[1] = 0.05
    assert made._threshold(5).item() == pytest.approx(0.25)


def test_a_soft_gate_by_hand():
    soft = ltp(temperature=0.1, penalty=0.5).soften(rows(), SEEN, 5)
    gates = torch.sigmoid((torch.tensor([0.25, 0.1, 0.4, 0.25, 0.45, 0.05]) - 0.2) / 0.1)
    gates[0] = gates[4] = 1.0  # [CLS]
    torch.testing.assert_close(soft.x_ND, torch.tensor(ROWS) * gates[:, None])
    torch.testing.assert_close(
        soft.penalties["gates"], 0.5 * torch.stack([gates[:4].mean(), gates[4:].mean()])
    )


def test_counts_are_of_the_original_tokens_and_never_grow():
    made = power_bert(TWO)
    shorter = made(rows(), SEEN, 1)
    again = Evidence(received_N=torch.ones(4), diagonal_N=torch.zeros(4))
    assert made(shorter, again, 2).layout.lengths_B.tolist() == [2, 2]


def test_soft_extract_scales_a_row_by_its_rank():
    soft = power_bert([1.0, 0.5, 0.25, 0.1], penalty=0.1).soften(rows(), SEEN, 2)
    # Ranks of 0 .1 .9 .5 are 3 2 0 1, and of 0 .1 they are 1 0; [CLS] is scaled like any other.
    scale_N = torch.tensor([0.1, 0.25, 1.0, 0.5, 0.5, 1.0])
    torch.testing.assert_close(soft.x_ND, torch.tensor(ROWS) * scale_N[:, None])
    # lambda x layer x mass over the example's own ranks.
    assert soft.penalties["retention"].tolist() == pytest.approx([0.1 * 2 * 1.85, 0.1 * 2 * 1.5])


def test_parameters_begin_at_one_learn_and_stay_within_bounds():
    made = PowerBert(layers=[1])
    made.bind(tiny_shape(), [6], 3)
    assert (made.retention == 1).all()
    soft = made.soften(rows(), SEEN, 1)
    (soft.x_ND.sum() + soft.penalties["retention"].sum()).backward()
    assert (made.retention.grad[0, :4] != 0).all()
    with torch.no_grad():
        made.retention.add_(1).mul_(-1)
    made.after_step()
    assert (made.retention == 0).all()


def test_what_is_skimmed_counts_in_the_mean_as_it_was():
    short = transkimmer().eval()(rows(), Evidence(), 1)
    later = short.with_x(torch.zeros_like(short.x_ND))  # what layers make of those that stayed
    mean_BD = pool_mean(later)
    torch.testing.assert_close(mean_BD, torch.tensor([[-1 / 4, 4 / 4], [-2 / 2, 5 / 2]]))
    second = pool_mean(later.only(torch.tensor([False, True])))
    torch.testing.assert_close(second, mean_BD[1:])


def test_soft_gates_and_the_skim_loss_by_hand():
    made = transkimmer(SURE, penalty=0.6, layers=[1, 2])
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
def test_soft_gates_equal_dropped_rows(pool: str):
    sizes = {"dropout": 0.0, "attention_dropout": 0.0}
    encoder = tiny("dense", "transkimmer", head={"pool": pool}, **sizes)
    with torch.no_grad():
        for *_, last in encoder.reduction.predictors.values():
            last.weight.mul_(SURE)
            last.bias.mul_(SURE)
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
