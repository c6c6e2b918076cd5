"""Runs of several kinds in one call of `measure`."""

from pathlib import Path

import pytest
from measured import UNTIMED, call, make_run
from models import method

from eat_lightning.errors import ConfigError
from eat_lightning.weights.checkpoint import load_model, save_model


def test_a_static_run_beside_others_has_no_tau_and_no_ratio(tmp_path: Path):
    run, static = make_run(tmp_path / "run"), make_run(tmp_path / "static", exit="never")
    encoder, labels = load_model(static / "model")
    encoder = encoder.replacing(reduction=method("reduction", "none"))
    save_model(encoder, labels, static / "model")
    given = ["taus=[0.6]", "reduction.ratio=0.2", "baselines=none", *UNTIMED]
    rows = call(f"run=[{static},{run}]", *given)
    assert [(row.point, row.reduction.arguments.get("ratio")) for row in rows] == [
        *((None, None), (0.5, 0.2), (0.6, 0.2))
    ]
    with pytest.raises(ConfigError) as caught:
        call(f"run={static}", *given)
    assert str(caught.value).splitlines() == [
        "taus needs a run whose exit rule has a knob, such as tau: none of these has",
        "reduction.ratio needs a run that reduces: none of these does",
    ]
