"""Checks that every method must pass on a tiny encoder.

`checks(slot)` returns functions that take a method and raise AssertionError where it violates the
contract. The package's tests run the same functions on all of its methods.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder, with_weights
from eat_lightning.model.flops import flops
from eat_lightning.model.method import faults_of
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.model.specification import MODEL_SLOTS, Specification
from eat_lightning.model.trace import Trace
from eat_lightning.model.training import Context
from eat_lightning.new.toy import alone, ragged, tiny_encoder
from eat_lightning.record.passes import record
from eat_lightning.weights.checkpoint import load_model, save_model

Check = Callable[[Any], None]
Make = Callable[..., Batch]  # examples of some lengths
LENGTHS = (*range(1, 12), 17, 22, 29, 14)  # in two batches, of which one is not full
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 0.0}
CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
COUNTED = {  # of which torch's counter knows nothing by itself
    CPU_ATTENTION: lambda q, k, v, *args, out_shape=None, **kwargs: sdpa_flop_count(q, k, v)
}


def answered(encoder: AdaptiveEncoder, make: Make = ragged) -> Trace:
    """Run the examples of `make` as one batch."""
    with torch.no_grad():
        return encoder(make())


def batch_is_its_examples(
    encoder: AdaptiveEncoder, whole: Trace | None = None, make: Make = ragged
) -> None:
    """A batch of N gives the same logits, depths, reasons and tokens as N batches of one.

    Args:
        whole: the result of `answered`, if known.
    """
    whole = whole or answered(encoder, make)
    with torch.no_grad():
        single = [encoder(one) for one in alone(make())]
    logits_BC = torch.cat([trace.logits_BC for trace in single])
    torch.testing.assert_close(logits_BC, whole.logits_BC, **CLOSE)
    for name in ("depth_B", "reason_B"):
        found_B = torch.cat([getattr(trace, name) for trace in single])
        assert torch.equal(found_B, getattr(whole, name)), name
    assert torch.equal(torch.cat([trace.tokens_LB for trace in single], dim=1), whole.tokens_LB)


def stream_is_the_batch(
    encoder: AdaptiveEncoder, whole: Trace | None = None, make: Make = ragged
) -> None:
    """Streamed results are bit for bit equal to those of the whole batch."""
    batch, whole = make(), whole or answered(encoder, make)
    with torch.no_grad():
        parts = [*encoder.stream(batch)]
    rows = torch.cat([rows_G for rows_G, _ in parts])
    assert sorted(rows.tolist()) == [*range(batch.size)]
    for name in ("logits_BC", "depth_B", "reason_B"):
        streamed = torch.cat([getattr(part, name) for _, part in parts])
        assert torch.equal(streamed, getattr(whole, name)[rows]), name
    tokens_LB = torch.cat([part.tokens_LB for _, part in parts], dim=1)
    assert torch.equal(tokens_LB, whole.tokens_LB[:, rows])
    for rows_G, part in parts:
        assert len({*part.depth_B.tolist()}) == 1
        for layer, guess_BC in part.guesses.items():
            assert torch.equal(guess_BC, whole.guesses[layer][rows_G])


def examples_do_not_touch(encoder: AdaptiveEncoder, whole: Trace | None = None) -> None:
    """Changing the words of one example does not change the results of others."""
    batch, before = ragged(), whole or answered(encoder)
    with torch.no_grad():
        batch.ids_N[10 : 10 + 14] = batch.ids_N[10 : 10 + 14].flip(0)  # the third example
        after = encoder(batch)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(before.logits_BC[others], after.logits_BC[others])
    assert before.depth_B[others].tolist() == after.depth_B[others].tolist()
    assert not torch.allclose(before.logits_BC[2], after.logits_BC[2])


def replay_is_the_live_run(encoder: AdaptiveEncoder, make: Make = ragged) -> None:
    """Replaying an exit rule on a recorded pass gives the same results as running with it."""
    batch = make(LENGTHS)
    outcome = record(encoder, Examples(batch), batch_size=8).replay()
    with torch.inference_mode():
        trace = encoder(batch)
    assert outcome.depth_B.tolist() == trace.depth_B.tolist()
    assert outcome.reason_B.tolist() == trace.reason_B.tolist()
    assert outcome.tokens_LB.tolist() == trace.tokens_LB.tolist()
    np.testing.assert_allclose(outcome.logits_BC, trace.logits_BC.numpy(), atol=1e-4)


class Examples:
    """A batch with the interface of a data split."""

    source = origins = difficulty = None

    def __init__(self, whole: Batch):
        self.whole, self.lengths = whole, whole.lengths_B.numpy()
        self.labels = np.arange(len(self.lengths)) % 3

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray) -> Batch:
        return self.whole.take(torch.from_numpy(rows))


def what_is_saved_comes_back(encoder: AdaptiveEncoder) -> None:
    """A saved and loaded model has the same method, arguments and parameters, and equal answers."""
    with TemporaryDirectory() as folder, torch.no_grad():
        save_model(encoder, ["a", "b", "c"][: encoder.num_labels], Path(folder))
        loaded = load_model(Path(folder))[0].eval()
        for slot in MODEL_SLOTS:
            saved = Specification.of(slot, getattr(encoder, slot))
            assert Specification.of(slot, getattr(loaded, slot)) == saved
        assert loaded.head == encoder.head
        assert torch.equal(loaded(ragged()).logits_BC, encoder(ragged()).logits_BC)


def flops_fall_with_the_work(encoder: AdaptiveEncoder) -> None:
    """FLOPs are finite and positive, and lower for an example that exits after layer 1."""
    with torch.inference_mode():
        trace = encoder(ragged())
    tokens_LB, full_B = trace.tokens_LB.numpy(), np.full(5, len(encoder.layers))
    whole_B = flops(encoder, encoder.exit, np.maximum(tokens_LB, 1), full_B)
    first_B = flops(encoder, encoder.exit, tokens_LB, np.ones(5, np.int64))
    assert np.isfinite(whole_B).all()
    assert (first_B > 0).all()
    assert (first_B < whole_B).all()


def every_weight_has_a_gradient(encoder: AdaptiveEncoder) -> None:
    """Training changes every weight of the backbone and heads; a method's own may stay
    unchanged.
    """
    encoder.train()
    guesses = encoder(ragged()).guesses.values()
    torch.stack([guess_BC.square().sum() for guess_BC in guesses]).sum().backward()
    for name, weight in encoder.named_parameters():
        if not name.startswith(MODEL_SLOTS):
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


def every_weight_of_heads_has_a_gradient(encoder: AdaptiveEncoder) -> None:
    """Training changes every weight of a head, at least at one exit (the first has none
    before it).
    """
    encoder.train()
    guesses = encoder(ragged()).guesses.values()
    torch.stack([guess_BC.square().sum() for guess_BC in guesses]).sum().backward()
    weights = [*encoder.heads.named_parameters()]
    moved = {name.partition(".")[2] for name, w in weights if w.grad is not None and w.grad.any()}
    assert moved == {name.partition(".")[2] for name, _ in weights}


def guesses_are_calibrated(encoder: AdaptiveEncoder) -> None:
    """A head gives C logits for each example at each exit, divided by its own temperature."""
    with torch.no_grad():
        before = encoder(ragged(), ALL_EXITS).guesses
        encoder.heads.at(3).temperature.fill_(2.0)
        after = encoder(ragged(), ALL_EXITS).guesses
    for layer, guess_BC in before.items():
        assert guess_BC.shape == (5, 3)
        expected_BC = guess_BC / (2.0 if layer == 3 else 1.0)
        torch.testing.assert_close(after[layer], expected_BC, **CLOSE)


def flops_are_torchs(encoder: AdaptiveEncoder) -> None:
    """FLOPs equal those that torch counts while an example is answered."""
    batch = ragged((12,))
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        trace = encoder(batch)
    expected = flops(encoder, encoder.exit, trace.tokens_LB.numpy(), trace.depth_B.numpy())
    np.testing.assert_allclose(counter.get_total_flops(), expected[0], rtol=1e-9)


def cls_stays_and_order_is_kept(encoder: AdaptiveEncoder) -> None:
    """A reduction keeps [CLS] first and the others in order, and keeps all tokens at strength 0."""
    with torch.inference_mode():
        trace = encoder(ragged(), PassOptions(leave=False, keep_hidden=True))
        rows = [*trace.inside.hidden.values()]
        encoder.strength.fill_(0.0)
        all_stay = (encoder(ragged(), ALL_EXITS).tokens_LB == ragged().lengths_B).all()
        assert all_stay, "rows are dropped though packed.strength_B is 0"
    for packed in rows:
        for place_T in packed.position_N.split(packed.layout.lengths_B.tolist()):
            assert place_T[0] == 0, "[CLS] is not the first row of its example"
            assert (place_T.diff() > 0).all(), "rows are not in their order"


def spec_undoes_build(slot: str) -> Check:
    """A method can be rebuilt from its kind and plain arguments, which are valid."""

    def check(method: Any) -> None:
        saved = Specification.of(slot, method)
        assert Specification.of(slot, saved.build()) == saved
        assert faults_of(method, 6) == []

    check.__name__ = "spec_undoes_build"
    return check


def loss_falls(objective: Any) -> None:
    """An objective is finite, reaches every exit that it counts, and decreases as
    logits improve.
    """
    labels_B = torch.tensor([0, 1, 2, 1])
    right_BC = 4.0 * torch.eye(3)[labels_B]
    wrong = loss_of(objective, -right_BC, labels_B)
    right = loss_of(objective, right_BC, labels_B)
    assert torch.isfinite(wrong)
    assert right < wrong


def loss_of(objective: Any, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    guesses = {k: logits_BC.clone().requires_grad_() for k in (2, 4, 6)}
    teacher_BC = logits_BC.abs() if objective.wants_teacher else None
    more = step_context(objective, guesses)
    context = Context(guesses=guesses, labels_B=labels_B, last=6, teacher_BC=teacher_BC, **more)
    loss = objective(context)
    loss.total.backward()
    grads = [guess_BC.grad for guess_BC in guesses.values() if guess_BC.grad is not None]
    assert grads
    assert all(torch.isfinite(grad_BC).all() for grad_BC in grads)
    return loss.total.detach()


def step_context(objective: Objective, guesses: dict[int, torch.Tensor]) -> dict[str, Any]:
    """Return the inputs that an objective may need besides logits: hidden states, those of a
    teacher of the same shape, and further passes with the same logits.
    """
    encoder = tiny_encoder(reduction=NormTopK(0.3, [2]))
    options = PassOptions(leave=False, keep_hidden=True, keep_scores=True)
    with torch.no_grad():
        encoder.strength.fill_(0.0)  # a teacher has every row
        shown = encoder(ragged(), options)
    hidden = shown.inside.hidden
    torch.manual_seed(0)
    objective.bind(encoder.shape, encoder.shape)
    passes, lessons = objective.passes(0, encoder), objective.lessons(encoder)
    with torch.no_grad():
        taught = [with_weights(encoder, p.weights, ragged(), options) for p in lessons]
    return {
        "hidden": hidden,
        "teacher_hidden": hidden,
        "scores": shown.inside.scores,
        "teacher_scores": shown.inside.scores,
        "passes": [guesses for _ in passes],
        "hidden_passes": [hidden for _ in passes],
        "teacher_passes": taught,
    }


def shares_add_up(schedule: Any) -> None:
    """A schedule's stages cover all steps, and strength stays within 0 and 1."""
    stages = schedule.stages(3, [2, 4, 6])
    assert abs(sum(stage.share for stage in stages) - 1) < 1e-9
    for stage in stages:
        strengths = [stage.strength(step / 10) for step in range(11)]
        assert all(0 <= strength <= 1 for strength in strengths)


ENCODER_CHECKS = (
    batch_is_its_examples,
    stream_is_the_batch,
    examples_do_not_touch,
    replay_is_the_live_run,
    what_is_saved_comes_back,
    flops_fall_with_the_work,
    every_weight_has_a_gradient,
)
HEAD_CHECKS = (
    *ENCODER_CHECKS[:-1],
    every_weight_of_heads_has_a_gradient,
    guesses_are_calibrated,
    flops_are_torchs,
)
OTHER_CHECKS = {"objective": (loss_falls,), "schedule": (shares_add_up,)}


def checks(slot: str) -> list[Check]:
    """Return the checks for methods of a slot; each takes the method."""
    found: list[Check] = [spec_undoes_build(slot), *OTHER_CHECKS.get(slot, ())]
    if slot in MODEL_SLOTS:
        found += [in_an_encoder(slot, check) for check in ENCODER_CHECKS]
    if slot == "head":
        found += [in_an_encoder(slot, check) for check in HEAD_CHECKS]
    return found + [in_an_encoder(slot, cls_stays_and_order_is_kept)] * (slot == "reduction")


def in_an_encoder(slot: str, check: Callable[[AdaptiveEncoder], None]) -> Check:
    """Turn a check of an encoder into one of a method, which is put into a tiny encoder."""

    def checked(method: Any) -> None:
        if slot == "head":
            named = Specification.of(slot, method).as_dict()
            return check(tiny_encoder(exit=Confidence(0.8, [2, 3, 4]), head=named))
        head = None if slot == "exit" else {"layers": [2, 3, 4]}
        check(tiny_encoder(**{slot: method}, head=head))

    checked.__name__ = check.__name__
    return checked
