"""Arguments that a method refuses: the key, its bound and the value, whatever the words between."""

from typing import Any

import pytest

from eat_lightning.model.method import argument_faults
from eat_lightning.model.specification import class_of

Fault = tuple[str, str, Any]  # key, bound, value
TAUS = "one value for each of 2"
FAULTS: list[tuple[str, str, dict[str, Any], list[Fault]]] = [
    (
        *("attention", "bigbird", {"block": 0, "random": -1}),
        [("block", "1 or more", 0), ("random", "0 or more", -1)],
    ),
    ("attention", "linformer", {"rank": 0}, [("rank", "1 or more", 0)]),
    *(
        ("attention", "longformer", {"window": bad}, [("window", "even and at least 2", bad)])
        for bad in (0, 7, -2, 4.0, True, "8", None)
    ),
    ("attention", "longformer", {"layers": [7]}, [("layers", "1..6", 7)]),
    (
        *("attention", "nystrom", {"landmarks": 0, "conv": -1}),
        [("landmarks", "1 or more", 0), ("conv", "0 or more", -1)],
    ),
    ("attention", "nystrom", {"conv": 4}, [("conv", "odd", 4)]),
    *(
        ("attention", "performer", {"features": bad}, [("features", "1 or more", bad)])
        for bad in (0, 1.5, True)
    ),
    (
        *("attention", "reformer", {"bucket": 0, "rounds": 0, "seed": -1}),
        [("bucket", "", 0), ("rounds", "", 0), ("seed", "0 or more", -1)],
    ),
    ("exit", "beem", {"alpha": 0, "layers": [4]}, [("alpha", "(0, inf)", 0)]),
    ("exit", "beem", {"alpha": 1, "layers": [4], "weights": [-1]}, [("weights", "(0, inf)", -1)]),
    ("exit", "beem", {"alpha": 1, "layers": [3, 4], "weights": [1]}, [("weights", TAUS, 1)]),
    (
        *("exit", "cats", {"consistency": 1.5, "layers": [4], "width": 0, "weight": 0}),
        [("consistency", "[0, 1]", 1.5), ("width", "1 or more", 0), ("weight", "(0, inf)", 0)],
    ),
    ("exit", "confidence", {"tau": 0.9, "layers": [4, 7]}, [("layers", "0..6", 7)]),
    ("exit", "confidence", {"tau": [0.9], "layers": [3, 4]}, [("tau", TAUS, 1)]),
    (
        *("exit", "entropy", {"entropy": -0.1, "layers": [4], "normalised": "yes"}),
        [("entropy", "[0, inf)", -0.1), ("normalised", "true or false", "yes")],
    ),
    *(
        ("exit", "margin", {"lead": bad, "layers": [4]}, [("lead", "[0, 1]", bad)])
        for bad in (-0.1, 1.1, "x", None)
    ),
    *(
        ("exit", "patience", {"patience": bad}, [("patience", "1 or more", bad)])
        for bad in (0, -1, 1.0, True, None)
    ),
    ("exit", "patience", {"patience": 2, "layers": [3, 4]}, [("patience", "at most 1", 2)]),
    ("exit", "pcee", {"uncertainty": 2, "layers": [3, 4]}, [("uncertainty", "[0, 1]", 2)]),
    (
        *("exit", "pcee", {"uncertainty": 0.2, "layers": [3, 4], "answer": "mean"}),
        [("answer", "last, patient, all", "mean")],
    ),
    (
        *("exit", "prototype", {"edr": 2, "layers": [4], "share": -1, "width": 0, "pull": -1}),
        [
            *(("edr", "[0, 1]", 2), ("share", "[0, inf)", -1)),
            *(("width", "1 or more", 0), ("pull", "[0, inf)", -1)),
        ],
    ),
    (
        *("exit", "random", {"rate": 1.1, "seed": -1}),
        [("rate", "[0, 1]", 1.1), ("seed", "0 or more", -1)],
    ),
    *(
        ("exit", "vote", {"votes": bad}, [("votes", "[1, inf)", bad)])
        for bad in (0, "2", None, float("nan"))
    ),
    ("head", "attention", {"width": 10, "num_heads": 4}, [("num_heads", "divide width=10", 4)]),
    ("head", "attention", {"width": 0}, [("width", "1 or more", 0)]),
    ("head", "attention", {"pool": "max"}, [("pool", "cls, mean", "max")]),
    ("head", "past_future", {"imitation": -1}, [("imitation", "[0, inf)", -1)]),
    (
        "head",
        "pair",
        {"texts": 3, "activation": "x"},
        [("texts", "1 or 2", 3), ("activation", "tanh", "x")],
    ),
    ("head", "pair", {"texts": "two"}, [("texts", "1 or 2", "two")]),
    ("head", "shared", {"separate_classes": 1}, [("separate_classes", "true or false", 1)]),
    ("objective", "cofi", {"sparsity": 1}, [("sparsity", "(0, 1)", 1)]),
    ("objective", "dynabert", {"widths": [0.5]}, [("widths", "1.0", [0.5])]),
    ("objective", "dynabert", {"depths": [1.0, 2]}, [("depths", "(0, 1]", 2)]),
    ("objective", "hidden_distillation", {"layer_map": {9: 1}}, [("layer_map", "0..6", 9)]),
    ("objective", "hidden_distillation", {"hidden": 0}, [("hidden", "(0, inf)", 0)]),
    ("objective", "joint", {"weights": {9: 1.0}}, [("weights", "0..6", 9)]),
    (
        *("objective", "joint", {"early_weight": -1, "last_weight": 0, "distill_into": "first"}),
        [
            *(("early_weight", "[0, inf)", -1), ("last_weight", "(0, inf)", 0)),
            ("distill_into", "last, all", "first"),
        ],
    ),
    ("objective", "movement", {"keep": 0}, [("keep", "(0, 1]", 0)]),
    (
        *("objective", "sandwich", {"num_random": -1, "layer_drop": 1}),
        [("num_random", "0 or more", -1), ("layer_drop", "[0, 1)", 1)],
    ),
    ("policy", "full_depth", {"active": 3}, [("full_depth.active", "true or false", 3)]),
    (
        *("policy", "min_retention", {"share": 0, "sources": "mail"}),
        [("min_retention.share", "(0, 1]", 0), ("min_retention.sources", "texts", "mail")],
    ),
    ("policy", "per_source", {"taus": {"mail": 2}}, [("per_source.taus.mail", "(0, 1]", 2)]),
    ("policy", "per_source", {"taus": [0.9]}, [("per_source.taus", "sources", [0.9])]),
    ("policy", "veto", {"margin": 2}, [("veto.margin", "(0, 1]", 2)]),
    (
        *("reduction", "ats", {"samples": 0, "least": 1}),
        [("samples", "(0, 1]", 0), ("least", "2 or more", 1)],
    ),
    (
        *("reduction", "cls_topk", {"ratio": -0.1, "protect_sep": 1}),
        [("ratio", "[0, 1)", -0.1), ("protect_sep", "true or false", 1)],
    ),
    ("reduction", "first", {"layers": [-1]}, [("layers", "0..6", -1)]),
    (
        *("reduction", "lengthdrop", {"draws": 1, "iterations": -1}),
        [("draws", "true or false", 1), ("iterations", "0 or more", -1)],
    ),
    ("reduction", "ltp", {"temperature": 0}, [("temperature", "(0, inf)", 0)]),
    ("reduction", "mean_pool", {"ratio": 0.6}, [("ratio", "[0, 0.5]", 0.6)]),
    (
        *("reduction", "norm_topk", {"ratio": 1, "layers": [2, 9, 2]}),
        [("ratio", "[0, 1)", 1), ("layers", "1..6", 9), ("layers", "once", "2 twice")],
    ),
    ("reduction", "norm_topk", {"ratio": float("nan")}, [("ratio", "[0, 1)", float("nan"))]),
    ("reduction", "norm_topk", {"ratio": [0.3]}, [("ratio", TAUS, 1)]),
    ("reduction", "norm_topk", {"layers": 3}, [("layers", "list", 3)]),
    (
        *("reduction", "power_bert", {"travel": 0, "extent": 1.5}),
        [("travel", "(0, inf)", 0), ("extent", "[0, 1]", 1.5)],
    ),
    ("reduction", "random", {"seed": -1}, [("seed", "0 or more", -1)]),
    ("reduction", "tome", {"ratio": 0.6}, [("ratio", "[0, 0.5]", 0.6)]),
    ("reduction", "transkimmer", {"threshold": 2}, [("threshold", "[0, 1]", 2)]),
    ("reduction", "transkimmer", {"layers": [6]}, [("layers", "0..5", 6)]),
]


@pytest.mark.parametrize(("slot", "kind", "arguments", "faults"), FAULTS)
def test_a_fault_names_key_bound_and_value(
    slot: str, kind: str, arguments: dict[str, Any], faults: list[Fault]
):
    found = argument_faults(class_of(slot, kind), 6, **arguments)
    assert len(found) == len(faults), found
    for key, bound, value in faults:
        shown = value if key == "layers" and value == "2 twice" else repr(value)
        (line,) = (f for f in found if f.startswith(f"{slot}.{key} must ") and bound in f)
        assert line.endswith(f"got {shown}")
