"""How a method is named, checked, built and saved; and what is refused."""

import sys

import pytest
import torch
from helpers.models import Nearest, kinds, method, ragged, tiny

from eat_lightning.answer_kind import AnswerKind, MultiLabel, Score
from eat_lightning.model.contracts import VectorHead
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.method import SLOTS
from eat_lightning.model.method import method as method_of
from eat_lightning.model.specification import Specification, build, build_all
from eat_lightning.new.checks import checks

METHODS = [(slot, kind) for slot in SLOTS for kind in kinds(slot)]
HERE = __name__


class NotAMethod:
    def __init__(self, **_):
        raise AssertionError("must not be made")


class Undecorated(VectorHead):
    """A head whose author forgot the decorator: torch's constructor takes anything."""

    def vector_width(self, shape):
        return shape.hidden_size

    def vector(self, packed):
        return packed.x_ND

    def guess(self, *_):
        raise AssertionError("must not be called")

    flops = of_features = first = guess


@method_of("head")
class Widest(Undecorated):
    """The same, with its arguments (none)."""


OF_PAIRS = {  # test_pairs.py
    "batch_is_its_examples",
    "stream_is_the_batch",
    "examples_do_not_touch",
    "replay_is_the_live_run",
}


@pytest.mark.parametrize(("slot", "kind"), METHODS)
def test_a_method_keeps_its_promises(slot: str, kind: str):
    for check in checks(slot):
        if slot == "head" or check.__name__ not in OF_PAIRS:
            check(method(slot, kind))


def test_all_work_with_no_arguments_and_name_options_they_have_not():
    for slot, kind in METHODS:
        build(slot, {"kind": kind})
        with pytest.raises(ValueError, match=rf"^{slot}.colour is not an option of {kind}\b"):
            build(slot, {"kind": kind, "colour": "red"})


def test_a_class_from_outside_the_package():
    kind = "helpers.models.Nearest"
    pattern = build("attention", {"kind": kind, "half_window": 2})
    assert isinstance(pattern, Nearest)
    assert Specification.of("attention", pattern).as_dict() == {"kind": kind, "half_window": 2}
    encoder, batch = tiny(), ragged()
    before_BC = encoder(batch).logits_BC
    encoder = encoder.replacing(attention=pattern)
    assert not torch.allclose(encoder(batch).logits_BC, before_BC)


def test_a_class_from_outside_is_told_what_it_lacks():
    lacks = "Undecorated must name its arguments: it lacks the decorator @method"
    assert Specification("head", f"{HERE}.Undecorated", {}).faults() == [lacks]
    [preset] = Specification("head", f"{HERE}.Widest", {"pool": "mean"}).faults()
    assert preset == f"head.pool is not an option of {HERE}.Widest; ~head.pool leaves it out"


@pytest.mark.parametrize(
    "kind",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        f"{HERE}.NotAMethod",
        f"{HERE}.Missing",
        "eat_lightning.methods.exit.never.Never",  # of another slot
        "../x",
        "/etc/passwd",
        "a..b",
        ".never",
        "_topk",
        "__init__",
        "dense ",
        "Dense",
        "",
        "dense\0",
        7,
    ],
)
def test_what_is_no_method_is_refused(kind: object):
    before = set(sys.modules)
    with pytest.raises(ValueError, match=r"^attention"):
        build("attention", {"kind": kind, "command": "echo no"})
    assert set(sys.modules) == before


def test_build_all_lists_every_fault():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_all(
            {
                "attention": {"kind": "longformer", "window": 3},
                "reduction": {"kind": "norm_topk", "layers": [9]},
                "exit": {"kind": "nope"},
            },
            num_layers=6,
        )
    assert str(caught.value).split("; ") == [
        "attention.window must be a multiple of 2, got 3",
        "reduction.layers must be in 1..6, got 9",
        "exit.kind: there is no exit called 'nope': one of beem, berxit, cap, cats, "
        "confidence, entropy, every_label, fixed, fpabee, fpabee_labels, margin, never, patience, "
        "pcee, predicted_error, prototype, random, vote, or a class of one's own as nope.Nope",
    ]


@pytest.mark.parametrize(
    ("exit", "kind", "said"),
    [
        ("confidence", MultiLabel(3), "exit=confidence compares classes, and this task has sets"),
        ("confidence", Score(), "exit=confidence compares classes, and this task is a regression"),
        ("predicted_error", Score(), "exit=predictederror reads a predicted error, which these he"),
        ("predicted_error", Score(error=True), ""),
        ("every_label", MultiLabel(3), ""),
    ],
)
def test_a_rule_judges_answers_of_its_kind(exit: str, kind: AnswerKind, said: str):
    """And a predicted error only where the heads give one."""
    faults = slot_faults(method("exit", exit), [3, 4], 6, kind)
    assert [fault[: len(said)] for fault in faults] == [said] * bool(said)
