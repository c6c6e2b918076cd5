"""The command that measures a row again."""

from dataclasses import replace
from pathlib import Path

from studies import make_row

from eat_lightning.report.provenance import Provenance
from eat_lightning.report.study import Measured, Point


def test_a_command_names_a_rule_that_may_not_be_the_runs_own():
    rule = {"kind": "patience", "patience": 2, "layers": [1, 3]}
    row = make_row(exit=rule, knob="patience", point=2, kernels="openvino", form="plain")
    said = Provenance.of(Point([Measured(row, Path())])).command
    assert " exit=patience 'exit.layers=[1,3]' " in said
    assert " backend=openvino" in said
    baseline = replace(row, exit={"kind": "fixed", "layer": 2}, knob=None, point=None)
    said = Provenance.of(
        Point([Measured(replace(baseline, baseline="fixed depth"), Path())])
    ).command
    assert "exit=" not in said


def test_a_command_names_plain_weights_where_they_would_be_prepacked():
    timed = make_row(latency_ms=2.0)
    for row, wanted in (
        (timed, True),
        (replace(timed, form="prepacked"), False),
        (replace(timed, dtype="int8"), False),
        (replace(timed, baseline="hugging face"), False),
        (replace(timed, latency_ms=None), False),
    ):
        said = Provenance.of(Point([Measured(row, Path())])).command
        assert said.endswith(" prepack=false") == wanted
