"""What a run is measured beside follows from its heads."""

from types import SimpleNamespace
from typing import Any

import pytest
from models import method

from eat_lightning.measure.settings import Setting, baselines
from eat_lightning.runs.row import STATIC_BASELINE, THEIRS


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("pooled", True), ("shared", True), ("attention", False), ("past_future", False)],
)
def test_transformers_model_has_only_heads_that_pool_one_layer(
    kind: str, theirs: bool, capsys: pytest.CaptureFixture[str]
):
    slots = {"attention": "dense", "reduction": "none", "exit": "never"}
    own = Setting(**{slot: method(slot, name) for slot, name in slots.items()})
    model: Any = {"head": {"kind": kind, "layers": [6]}, "num_layers": 6}
    found = [s.baseline for s in baselines(own, SimpleNamespace(baselines="all"), model)]
    assert found == ([STATIC_BASELINE, THEIRS] if theirs else [STATIC_BASELINE])
    assert ("has no head=" in capsys.readouterr().out) == (not theirs)
