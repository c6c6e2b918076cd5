"""Policies together: with every exit rule, in batches, streams and records."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers.models import each_once, kinds, method, ragged, tiny

from eat_lightning.model.contracts import ExitRule, Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import build_policies, specs_of
from eat_lightning.model.policy import PolicyRequest
from eat_lightning.model.reason import FIRST_REASON, OVERRULED, Reason, leaves
from eat_lightning.new import checks

LENGTHS = (9, 1, 14, 2, 7, 21, 12, 5)
SOURCES = ("mail", "web", "phone", "mail-2", "web", "mail", "web", "mail")
LISTS = kinds("policy"), kinds("policy")[::-1]
# Every exit rule with every policy at once. Pairs of the shelf are tests/model/test_pairs.py's.
EVERY = [
    (tuple(LISTS[i % 2]), exit, reduction)
    for i, (exit, reduction) in enumerate(each_once(kinds("exit"), kinds("reduction")))
]


def known(lengths: tuple[int, ...] = LENGTHS) -> Batch:
    batch = ragged(lengths)
    batch.about = [{"source": SOURCES[i % 8], "mime": "text/plain"} for i in range(len(lengths))]
    return batch


@cache
def body(exit: str, reduction: str) -> AdaptiveEncoder:
    return tiny("dense", reduction, exit, head={"layers": [2, 3, 4]})


def asking(names: tuple[str, ...], exit: str, reduction: str) -> AdaptiveEncoder:
    policies = tuple(method("policy", name) for name in names)
    return body(exit, reduction).replacing(policies=policies)


@pytest.mark.combined
@pytest.mark.parametrize(("names", "exit", "reduction"), EVERY)
def test_a_batch_its_examples_its_stream_and_its_record_are_one(
    names: tuple[str, ...], exit: str, reduction: str
):
    encoder = asking(names, exit, reduction)
    checks.batch_is_its_examples(encoder, make=known)
    checks.stream_is_the_batch(encoder, make=known)
    checks.replay_is_the_live_run(encoder, make=known)


@pytest.mark.combined
@pytest.mark.parametrize(("names", "exit", "reduction"), EVERY)
def test_an_exit_only_comes_later(names: tuple[str, ...], exit: str, reduction: str):
    """Against the same rule under the same pruning."""
    encoder, batch = asking(names, exit, reduction), known()
    with torch.inference_mode():
        trace = encoder(batch)
        strengths = [policy for policy in encoder.policies if "share" in vars(policy)]
        encoder.policies = strengths
        before = encoder(batch)
    assert (trace.depth_B >= before.depth_B).all()
    assert (trace.retention_B <= before.retention_B).all()  # deeper, so shorter
    held_B = torch.isin(trace.reason_B, torch.tensor(OVERRULED))
    assert (trace.depth_B[held_B] == 6).all()
    early_B = trace.depth_B < 6
    assert torch.equal(trace.reason_B[early_B], before.reason_B[early_B]) or exit == "patience"
    assert leaves(trace.reason_B[early_B]).all()


STAYS, LAST, VETOED, FALLBACK, SURE, PATIENT = range(6)


class Scripted(ExitRule, Policy):
    """An exit rule at layers 2, 3 and 4 and a policy, who say what is written down."""

    layers = (2, 3, 4)

    def __init__(self, *codes: int, full: bool = False):
        self.codes, self.full = codes, full

    reasons = ("sure", "patient")

    def decides(self, logits_EBC, signals_EBS=None):
        code = self.codes[len(logits_EBC) - 1]
        return torch.full((logits_EBC.shape[1],), max(0, code - FIRST_REASON + 1))

    def requests(self, batch, reduction):
        return PolicyRequest(full_B=np.full(batch.size, self.full))

    def reviews(self, reason_B, logits_EBC, batch, rows_B):
        code = self.codes[len(logits_EBC) - 1]
        return reason_B if code == STAYS else np.full_like(reason_B, code)


@pytest.mark.parametrize(
    ("rule", "policy", "full", "depth", "reason"),
    [
        ((STAYS, STAYS, STAYS), (STAYS,) * 3, False, 6, Reason.LAST_LAYER),
        ((STAYS, SURE, SURE), (STAYS,) * 3, False, 3, FIRST_REASON),
        ((SURE, STAYS, STAYS), (VETOED,) * 3, False, 6, Reason.VETOED),
        ((SURE, SURE, STAYS), (VETOED, STAYS, STAYS), False, 3, FIRST_REASON),
        ((SURE, PATIENT, STAYS), (VETOED, STAYS, STAYS), False, 3, FIRST_REASON + 1),
        ((SURE, SURE, SURE), (STAYS,) * 3, True, 6, Reason.FALLBACK),
        ((SURE, SURE, SURE), (VETOED,) * 3, True, 6, Reason.FALLBACK),
        ((SURE, SURE, SURE), (FALLBACK, STAYS, STAYS), False, 6, Reason.FALLBACK),
        ((STAYS, STAYS, STAYS), (SURE,) * 3, False, 6, Reason.LAST_LAYER),  # it cannot let go
        ((STAYS, STAYS, STAYS), (VETOED,) * 3, False, 6, Reason.LAST_LAYER),  # nothing to veto
        ((SURE, STAYS, STAYS), (PATIENT,) * 3, False, 2, FIRST_REASON + 1),  # another reason to go
    ],
)
def test_reasons(rule, policy, full: bool, depth: int, reason: Reason):
    encoder = tiny(head={"layers": [2, 3, 4]})
    encoder.exit, encoder.policies = Scripted(*rule), (Scripted(*policy, full=full),)
    trace = encoder(ragged((5, 3)))
    assert trace.depth_B.tolist() == [depth] * 2
    assert trace.reason_B.tolist() == [reason] * 2


def test_a_part_of_a_batch():
    batch = known()
    part = batch.take(torch.tensor([6, 1]))
    for whole_N, found_N in ((batch.ids_N, part.ids_N), (batch.types_N, part.types_N)):
        each = whole_N.split(batch.lengths_B.tolist())
        assert torch.equal(found_N, torch.cat([each[6], each[1]]))
    assert (part.lengths_B.tolist(), part.index_B.tolist()) == ([12, 1], [6, 1])
    assert part.known("source") == ["web", "web"]
    assert ragged((2, 3)).known("source") == [None, None]


def test_specs_undo_built():
    policies = tuple(method("policy", kind) for kind in kinds("policy"))
    assert specs_of(build_policies(specs_of(policies))) == specs_of(policies)
    for broken in ({"kind": "veto"}, "veto", 3):
        with pytest.raises(ValueError, match=r"^policy must be a list such as"):
            build_policies(broken)
    said = r"no policy called 'nope'.*; policy.veto.margin must be at most 1"
    with pytest.raises(ValueError, match=said):
        build_policies([{"kind": "nope"}, {"kind": "veto", "margin": 3}])
