"""The contract of a method, with methods of a user's own: every hook, and what is refused."""

import pytest
import torch
from helpers.models import alone, kinds, method, ragged, tiny
from torch import nn

from eat_lightning.errors import ConfigError
from eat_lightning.methods.reduction._gates import gated, keep_where
from eat_lightning.model.contracts import EncoderPart, ExitRule, Reduction, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.model.specification import Specification
from eat_lightning.runs.exit_choice import ExitChoice


class ZeroOne(Reduction, nn.Module):
    """Drops the tokens of odd position; in a soft stage it gates them with 0, all others with 1."""

    place, soft_place = "after_attention", "after_layer"

    def __init__(self, layers: tuple[int, ...] = (2,)):
        super().__init__()
        self.layers = layers

    def _stays(self, packed: Packed) -> torch.Tensor:
        return (packed.position_N % 2 == 0) | (packed.layout.index_N == 0)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        return keep_where(packed, self._stays(packed))

    def soften(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        return gated(packed, self._stays(packed).float(), penalty=1.0, key_weight=True)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_soft_gates_of_zero_and_one_equal_dropped_rows(pool: str):
    encoder = tiny(head={"pool": pool}, dropout=0.0, attention_dropout=0.0)
    encoder = encoder.replacing(reduction=ZeroOne())
    dropped_BC = encoder(ragged()).logits_BC
    soft = encoder.train()(ragged(), PassOptions(soft=True))
    assert (soft.tokens_LB == ragged().lengths_B).all()  # gated, not dropped
    torch.testing.assert_close(soft.logits_BC, dropped_BC, atol=1e-4, rtol=1e-4)


class FromIds(Reduction):
    """Drops one token id before the first layer, which asks for notes and for layer 0."""

    place = "after_layer"
    wants = frozenset({"ids"})

    def __init__(self, drop: int, layers: tuple[int, ...] = (0,)):
        self.drop, self.layers = drop, layers

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        return keep_where(packed, packed.notes["ids"] != self.drop)


def test_a_reduction_may_act_on_the_embedding_and_read_token_ids():
    encoder, batch = tiny(), ragged((9,))
    whole = encoder(batch)
    drop = int(batch.ids_N[4])
    times = int((batch.ids_N == drop).sum())
    encoder = encoder.replacing(reduction=FromIds(drop))
    trace = encoder(batch)
    assert trace.tokens_LB[:, 0].tolist() == [9 - times] * 6
    assert not torch.allclose(trace.logits_BC, whole.logits_BC)


class OwnReason(ExitRule):
    """Leaves at the first exit whose guess is class 0, "zero", or class 1, "one"."""

    reasons = ("zero", "one")

    def __init__(self, layers: tuple[int, ...] = (3, 4)):
        self.layers = layers

    def decides(self, logits_EBC, signals_EBS=None):
        classes_B = logits_EBC[-1].argmax(-1)
        return torch.where(classes_B < 2, classes_B + 1, 0)

    def answers(self, logits_EBC):
        return logits_EBC.mean(0)


def test_an_exit_names_its_own_reasons_and_answers():
    encoder, batch = tiny(exit="confidence"), ragged()
    encoder = encoder.replacing(exit=OwnReason())
    trace = encoder(batch)
    assert {*trace.reasons} <= {"zero", "one", "last_layer"}
    assert len({*trace.reasons}) > 1
    for i, one in enumerate(alone(batch)):
        guesses = encoder(one, ALL_EXITS).guesses
        depth = int(trace.depth_B[i])
        mean_C = torch.stack([guesses[k][0] for k in (3, 4, 6) if k <= depth]).mean(0)
        torch.testing.assert_close(trace.logits_BC[i], mean_C, atol=1e-4, rtol=1e-4)
        name = {0: "zero", 1: "one"}.get(int(guesses[min(depth, 4)][0].argmax()))
        assert trace.reasons[i] == (name if depth < 6 else "last_layer")


def test_evidence_that_nobody_gives_is_refused():
    class Asks(FromIds):
        needs = frozenset({"received", "gradient"})

    made = tiny()
    with pytest.raises(ValueError, match=r"reduction.needs must be among received, .*'gradient'"):
        AdaptiveEncoder(made.shape, 3, made.attention, Asks(0), made.exit, {"layers": []})


LEARNING = [
    (slot, kind)
    for slot in ("reduction", "exit")
    for kind in kinds(slot)
    if overrides(method(slot, kind), EncoderPart.bind)
]


@pytest.mark.parametrize(("slot", "kind"), LEARNING)
def test_another_setting_of_a_method_keeps_what_was_learned(slot: str, kind: str):
    encoder = tiny(**{slot: kind})
    own = getattr(encoder, slot)
    (name, learned), *_ = own.named_parameters()
    changed = method(slot, kind, layers=list(own.layers))
    twin = encoder.replacing(**{slot: changed})
    assert dict(getattr(twin, slot).named_parameters())[name] is learned
    assert f"{slot}.{name}" in encoder.state_dict()
    assert Specification.of(slot, getattr(twin, slot)) == Specification.of(slot, changed)


def test_a_rule_that_learns_is_refused_where_it_was_not_trained():
    node = {"_target_": "eat_lightning.methods.exit.cats.MetaConsistency", "consistency": 0.5}
    with pytest.raises(ConfigError, match="exit=cats learns, and this run was trained with never"):
        ExitChoice.of(node, Specification("exit", "never")).rule(
            tiny(exit="never", head={"kind": "pooled", "layers": [3, 4, 6]})
        )
    own = Specification.of("exit", tiny(exit="cats").exit)
    assert ExitChoice.of(node, own).rule(tiny(exit="cats")).consistency == 0.5


def test_layers_can_be_skipped():
    encoder, batch = tiny(), ragged()
    whole_BC = encoder(batch).logits_BC
    without = PassOptions(skips=frozenset({3}))
    skipped_BC = encoder(batch, without).logits_BC
    assert not torch.allclose(skipped_BC, whole_BC)
    with torch.no_grad():  # its weights are not read: others change nothing
        encoder.layers[2].up.weight.fill_(7.0)
    assert torch.equal(encoder(batch, without).logits_BC, skipped_BC)
    assert not torch.allclose(encoder(batch).logits_BC, whole_BC)
