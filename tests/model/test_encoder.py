"""The encoder: equal to Hugging Face when static, to a masked reference when adaptive.

Equality for each family is tests/weights/test_families.py's.
"""

import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import alone, method, padded, ragged, spread, tiny
from helpers.reference import reference

from eat_lightning.model.contracts import at_point
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.reason import Reason
from eat_lightning.new.checks import Examples
from eat_lightning.record.passes import record
from eat_lightning.weights.checkpoint import load_pretrained

REDUCED = "none", "norm_topk", "received_topk", "cls_topk"
KNOWN = [
    (*slots, ("cls", "mean")[i % 2])
    for i, slots in enumerate(
        product(("dense", "longformer"), REDUCED, ("never", "confidence", "patience"))
    )
]
STATIC = {"attention": "dense", "reduction": "none", "exit": "never"}
SMALL = {"vocab_size": 50, "num_labels": 3}
WIDE = {"num_attention_heads": 4, "num_hidden_layers": 3, "max_position_embeddings": 42}


def static(folder: Path, num_labels: int = 3, **options) -> AdaptiveEncoder:
    slots = {slot: method(slot, kind) for slot, kind in STATIC.items()}
    head = options.pop("head", {"layers": []})
    return load_pretrained(str(folder), num_labels, **slots, head=head, **options).eval()


def answers(model: torch.nn.Module, batch) -> torch.Tensor:
    return model(**padded(batch, pad=model.config.pad_token_id)).logits


@pytest.fixture
def real_minilm(request: pytest.FixtureRequest) -> Path:
    """In the folder that EAT_BACKBONES names, else in the optional package."""
    given = Path(os.environ.get("EAT_BACKBONES", "")) / "minilm-l6"
    return given if given.is_dir() else request.getfixturevalue("minilm_dir")


def test_equals_hugging_face_on_real_weights(real_minilm: Path):
    from transformers import BertForSequenceClassification

    encoder = static(real_minilm, num_labels=2)
    model = BertForSequenceClassification.from_pretrained(real_minilm, num_labels=2).eval()
    classes = encoder.heads["6"].classes
    model.classifier.load_state_dict({k: 20 * v for k, v in classes.state_dict().items()})
    classes.load_state_dict(model.classifier.state_dict())
    batch = ragged((9, 3, 60, 2, 24))
    batch.ids_N = batch.ids_N * 500 + 1000
    with torch.no_grad():
        expected_BC = answers(model, batch)
        assert expected_BC.std() > 0.05  # else equality would say little
        torch.testing.assert_close(encoder(batch).logits_BC, expected_BC, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("take", "chosen"), [("first", [0, 1, 2, 3, 4, 5]), ("alternate", [0, 2, 4, 7, 9, 11])]
)
def test_six_layers_of_twelve(take: str, chosen: list[int], tmp_path: Path):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "intermediate_size": 24} | WIDE | {"num_hidden_layers": 12}
    model = spread(BertForSequenceClassification(BertConfig(**SMALL, **sizes))).eval()
    model.save_pretrained(tmp_path)
    layers = model.bert.encoder.layer
    model.bert.encoder.layer = torch.nn.ModuleList(layers[i] for i in chosen)
    model.config.num_hidden_layers = 6
    batch = ragged()
    with torch.no_grad():
        ours_BC = static(tmp_path, num_layers=6, take=take)(batch).logits_BC
        torch.testing.assert_close(ours_BC, answers(model, batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("attention", "reduction", "exit", "pool"), KNOWN)
def test_dropping_equals_masking(attention: str, reduction: str, exit: str, pool: str):
    encoder, batch = tiny(attention, reduction, exit, head={"pool": pool}), ragged()
    with torch.no_grad():
        trace = encoder(batch)
        expected = [reference(encoder, one.ids_N, one.types_N) for one in alone(batch)]
    logits_BC = torch.stack([one["logits"] for one in expected])
    torch.testing.assert_close(trace.logits_BC, logits_BC, atol=1e-4, rtol=0)
    assert trace.depth_B.tolist() == [one["depth"] for one in expected]
    assert trace.tokens_LB.T.tolist() == [one["tokens"] for one in expected]


@pytest.mark.parametrize(("exit", "depths"), [("confidence", {3, 4, 6}), ("patience", {3, 4})])
def test_examples_leave_on_their_own(exit: str, depths: set[int]):
    """Equality with a reference would say little if all left together."""
    trace = tiny("dense", "cls_topk", exit)(ragged())
    assert {*trace.depth_B.tolist()} == depths
    early_B = trace.depth_B < 6
    assert early_B.tolist() == (trace.reason_B > Reason.LAST_LAYER).tolist()
    for layer, guess_BC in trace.guesses.items():
        assert guess_BC.isnan().any(1).tolist() == (trace.depth_B < layer).tolist()
        here_B = trace.depth_B == layer
        assert torch.equal(trace.logits_BC[here_B], guess_BC[here_B])


@pytest.mark.parametrize("kind", ["confidence", "margin", "entropy"])
def test_an_exit_where_nobody_may_leave_is_not_asked(kind: str):
    """All else is as if it were: depths, and FLOPs without its head. A policy looks at it."""
    encoder = tiny("dense", "none", kind, head={"layers": [1, 2, 3]})
    knob: Any = encoder.exit.knob
    recorded = record(encoder, Examples(ragged()))

    def at_2(point: float) -> Any:
        rule = at_point(encoder.exit, [knob.strict, point, knob.strict])
        rule.layers = [1, 2, 3]
        return rule

    def shares(point: float) -> float:
        return recorded.replay(at_2(point)).exit_shares.get(2, 0)

    encoder = encoder.replacing(
        exit=at_2(next(point for point in knob.fine if 0 < shares(point) < 1))
    )
    trace, outcome = encoder(ragged()), recorded.replay(encoder.exit)
    assert [*trace.guesses] == [2, 6]
    assert trace.depth_B.tolist() == outcome.depth_B.tolist()
    at_one = encoder.replacing(exit=encoder.rule)
    assert at_one.exit.layers == [2]
    counted = [flops(e, e.exit, recorded.tokens_LB, outcome.depth_B) for e in (encoder, at_one)]
    assert (counted[0] == counted[1]).all()
    policed = encoder.replacing(policies=[method("policy", "full_depth")])
    assert [*policed(ragged()).guesses] == [1, 2, 3, 6]


@pytest.mark.parametrize(("strength", "kept"), [(0.0, 14), (0.5, 1 + 11), (1.0, 1 + 8)])
def test_strength_scales_the_ratio(strength: float, kept: int):
    encoder = tiny("dense", "norm_topk")
    encoder.strength.fill_(strength)
    assert encoder(ragged((14,))).tokens_LB[2].tolist() == [kept]  # 0.4 of 13 is 5.2; half is 2.6


def test_evaluation_is_deterministic_and_training_is_not():
    encoder, batch = tiny("longformer", "norm_topk", "confidence"), ragged()
    assert torch.equal(encoder(batch).logits_BC, encoder(batch).logits_BC)
    encoder.train()
    first, second = encoder(batch), encoder(batch)
    assert not torch.equal(first.logits_BC, second.logits_BC)
    assert first.depth_B.tolist() == [6] * 5


def test_gradients_reach_the_embedding_of_every_token():
    encoder, batch = tiny("longformer", "cls_topk", "confidence").train(), ragged()
    sum(guess_BC.square().sum() for guess_BC in encoder(batch).guesses.values()).backward()
    touched = set(encoder.embedding.word.weight.grad.abs().sum(1).nonzero().flatten().tolist())
    assert touched == set(batch.ids_N.tolist())


@pytest.mark.parametrize("needs", ["received_topk", "cls_topk"])
def test_evidence_is_fp32_under_autocast(needs: str):
    encoder, seen = tiny("dense", needs), []
    call = type(encoder.reduction).__call__

    class Spy(type(encoder.reduction)):
        def __call__(self, packed, evidence, layer):
            seen.extend(vars(evidence).values())
            return call(self, packed, evidence, layer)

    encoder = encoder.replacing(reduction=Spy())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        encoder(ragged())
    assert len(seen) == 2
    for score_N in seen:
        assert score_N.dtype == torch.float32
        assert not torch.equal(score_N, score_N.bfloat16().float())  # not rounded on the way
