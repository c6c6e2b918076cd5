"""Arguments that a method refuses: key, bound and value, once for each form of bound."""

from typing import Any

import pytest

from eat_lightning.model.method import argument_faults
from eat_lightning.model.specification import class_of

NAN = float("nan")
FAULTS: list[tuple[str, str, dict[str, Any], str, str]] = [  # ..., key and bound, value as shown
    *(
        ("attention", "longformer", {"window": bad}, "window must be", repr(bad))
        for bad in (0, 7, -2, 4.0, True, "8", None)
    ),
    ("attention", "longformer", {"layers": [7]}, "layers must be in 1..6", "7"),
    ("attention", "nystrom", {"conv": 4}, "conv must be odd", "4"),
    ("exit", "beem", {"alpha": 1, "layers": [3, 4], "weights": [1]}, "weights must have one", "1"),
    ("exit", "confidence", {"tau": [0.9], "layers": [3, 4]}, "tau must have one value", "1"),
    ("exit", "patience", {"patience": 2, "layers": [3, 4]}, "patience must be at most 1", "2"),
    ("exit", "pcee", {"uncertainty": 0.2, "answer": "mean"}, "answer must be one of", "'mean'"),
    ("exit", "predicted_error", {"cuts": ["x"], "layers": [3]}, "cuts.0 must be a number", "'x'"),
    ("exit", "vote", {"votes": NAN}, "votes must be a finite number", "nan"),
    ("head", "attention", {"width": 10, "num_heads": 4}, "num_heads must divide width=10", "4"),
    ("head", "shared", {"separate_classes": 1}, "separate_classes must be true or false", "1"),
    ("objective", "dynabert", {"depths": [1.0, 2]}, "depths.1 must be at most 1", "2"),
    ("objective", "hidden_distillation", {"layer_map": {9: 1}}, "layer_map must", "9"),
    ("policy", "min_retention", {"sources": "mail"}, "min_retention.sources must", "'mail'"),
    ("policy", "per_source", {"taus": {"mail": 2}}, "per_source.taus.mail must be at most 1", "2"),
    ("reduction", "norm_topk", {"ratio": NAN}, "ratio must be a finite number", "nan"),
    ("reduction", "norm_topk", {"ratio": 0.3, "layers": [2, 2]}, "layers must", "2 twice"),
    ("reduction", "norm_topk", {"layers": 3}, "layers must be a list", "3"),
    ("reduction", "tome", {"ratio": 0.6}, "ratio must be at most 0.5", "0.6"),
    ("reduction", "transkimmer", {"layers": [6]}, "layers must be in 0..5", "6"),
]


@pytest.mark.parametrize(("slot", "kind", "arguments", "start", "value"), FAULTS)
def test_a_fault_names_key_bound_and_value(
    slot: str, kind: str, arguments: dict[str, Any], start: str, value: str
):
    (line,) = argument_faults(class_of(slot, kind), 6, **arguments)
    assert line.startswith(f"{slot}.{start}")
    assert line.endswith(f"got {value}")


def test_every_argument_of_a_method_is_named_at_once():
    arguments = {"early_weight": -1, "last_weight": 0, "distill_into": "first"}
    assert len(argument_faults(class_of("objective", "joint"), 6, **arguments)) == 3
