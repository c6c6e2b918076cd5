"""Certificates: another machine is told and no error, and what one lacks is a line."""

import pytest

from eat_lightning.errors import ConfigError
from eat_lightning.machine import MACHINE, difference, machine
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.claim import Claim

CLAIM = Claim("disagreement", 0.01, 0.95)


def made(**holds_for) -> Certificate:
    return Certificate("one", [CLAIM], "at most 1 % change", holds_for)


def test_another_machine_is_a_line_and_other_files_are_refused(capsys: pytest.CaptureFixture):
    elsewhere = {"processor": "another one", "instructions": ["amx_int8"]}
    certificate = made(weights="a", **{MACHINE: elsewhere})
    certificate.check({"weights": "a", MACHINE: machine()})
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("note: certificate one: it was certified on another one, and ")
    certificate.check({"weights": "a"})
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match=r"holds for another weights \(a there, b here\)"):
        certificate.check({"weights": "b"})


def test_what_a_machine_lacks_is_named():
    here = {"processor": "x", "instructions": ["avx2"]}
    assert difference({"processor": "x", "instructions": ["avx2"]}, here) == ""
    assert difference({"processor": "x", "instructions": []}, here) == ""  # it has more
    lacking = difference({"processor": "x", "instructions": ["avx2", "amx_int8"]}, here)
    assert lacking.endswith("x runs here, without amx_int8")
