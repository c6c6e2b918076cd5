"""What holds for every reduction on the shelf, and where a joined row is."""

from dataclasses import replace

import pytest
import torch
from helpers.models import kinds, method, packed, ragged, tiny

from eat_lightning.methods.reduction._gates import forwarded, weighed
from eat_lightning.methods.reduction._merged import largest_part, merged
from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.contracts import Reduction, at_point
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import argument_faults
from eat_lightning.model.packed import Packed
from eat_lightning.model.recorder import PassOptions

REDUCTIONS = kinds("reduction")
MERGING = ("tome", "mean_pool")


class Watched(Reduction):
    """A reduction that notes which positions of each example it leaves, by layer."""

    def __init__(self, reduction):
        self.reduction, self.kept = reduction, {}
        self.place, self.needs, self.layers = reduction.place, reduction.needs, reduction.layers
        self.wants = reduction.wants

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        short = self.reduction(packed, evidence, layer)
        places = zip(short.layout.segment_N.tolist(), short.position_N.tolist(), strict=True)
        self.kept[layer] = {*places}
        self.last = short
        return short


class Masked(Reduction):
    """The same choice with rows that stay, hidden from every other token and from pooling."""

    def __init__(self, watched: Watched):
        self.kept, self.forwards = watched.kept, watched.last.forwarded_B is not None
        self.place, self.needs, self.layers = watched.place, frozenset(), watched.layers

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        places = zip(packed.layout.segment_N.tolist(), packed.position_N.tolist(), strict=True)
        gate_N = torch.tensor([float(place in self.kept[layer]) for place in places])
        before_N = torch.ones_like(gate_N) if packed.size_N is None else packed.size_N
        if self.forwards:
            packed = forwarded(packed, before_N - gate_N)
        return replace(weighed(packed, gate_N), size_N=gate_N)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("kind", [kind for kind in REDUCTIONS if kind not in ("none", *MERGING)])
def test_dropping_equals_masking(kind: str, pool: str):
    encoder, batch = tiny("dense", kind, head={"pool": pool}), ragged()
    watched = Watched(encoder.reduction)
    encoder = encoder.replacing(reduction=watched)
    dropped = encoder(batch)
    assert (dropped.tokens_LB[-1] < batch.lengths_B).any()
    encoder = encoder.replacing(reduction=Masked(watched))
    masked = encoder(batch)
    assert (masked.tokens_LB == batch.lengths_B).all()
    torch.testing.assert_close(masked.logits_BC, dropped.logits_BC, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in REDUCTIONS if kind != "none"])
def test_nothing_leaves_at_the_strict_end(kind: str):
    encoder, batch = tiny("dense", kind), ragged()
    encoder = encoder.replacing(
        reduction=at_point(encoder.reduction, encoder.reduction.knob.strict)
    )
    assert (encoder(batch).tokens_LB == batch.lengths_B).all()


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_cls_survives_the_lax_end(kind: str):
    encoder, batch = tiny("dense", kind), ragged()
    if (knob := encoder.reduction.knob) is not None:
        encoder = encoder.replacing(reduction=at_point(encoder.reduction, knob.fine[-1]))
    for rows in encoder(batch, PassOptions(keep_hidden=True)).inside.hidden.values():
        first_B = rows.layout.offsets_B
        assert rows.layout.lengths_B.min() >= 1
        assert (rows.position_N[first_B] == 0).all()


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_what_is_put_into_a_slot_takes_the_encoders_mode(kind: str):
    """A new module says that it is in training, where it may draw at random."""
    encoder, batch = tiny(), ragged()
    encoder = encoder.replacing(reduction=method("reduction", kind))
    first, second = encoder(batch), encoder(batch)
    assert torch.equal(first.tokens_LB, second.tokens_LB)
    assert torch.equal(first.logits_BC, second.logits_BC)


def test_a_top_k_without_a_score_is_refused_when_built():
    class Unfinished(TopK):
        pass

    assert argument_faults(Unfinished, 6, ratio=0.3) == ["Unfinished has no score"]
    with pytest.raises(TypeError, match="score"):
        Unfinished()


def test_a_joined_row_is_where_its_largest_part_was():
    """Rows 1 (size 3) and 4 (size 3) join row 2 (size 1): it is at 1, the first of the largest;
    row 5 (size 1) joins row 3 (size 1), which stays where it is."""
    position_N, size_N = torch.arange(6), torch.tensor([1.0, 3, 1, 1, 3, 1])
    from_M, into_M = torch.tensor([1, 4, 5]), torch.tensor([2, 2, 3])
    assert largest_part(position_N, size_N, from_M, into_M).tolist() == [0, 1, 1, 3, 4, 5]


def test_equal_parts_stay_where_they_were_merged_into():
    whole = packed([[1.0], [2.0], [4.0], [8.0]], [4])
    joined = merged(whole, torch.tensor([1]), torch.tensor([2]), proportional=False)
    assert joined.position_N.tolist() == [0, 2, 3]
    assert joined.x_ND.flatten().tolist() == [1.0, 3.0, 8.0]
