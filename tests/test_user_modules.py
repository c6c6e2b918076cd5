"""Modules of one's own, which a person lets be imported."""

import re
import sys
from pathlib import Path

import pytest

from eat_lightning.config import binding_faults
from eat_lightning.model.specification import class_of
from eat_lightning.user_modules import import_user_module

RULE = """
from eat_lightning.methods.exit.margin import Margin

class AgreeLead(Margin): ...
"""


def test_one_that_fails_is_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EAT_IMPORT", "not_here")
    import_user_module("another")
    with pytest.raises(ValueError, match="EAT_IMPORT: not_here cannot be imported"):
        import_user_module("not_here")


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("agree_led.AgreeLed", ": did you mean agree_lead.AgreeLead?"),
        ("agree_lead.AgreeLed", ": did you mean agree_lead.AgreeLead?"),
        ("confidnce", ": did you mean confidence?"),
        ("far_off.Other", ": its module must lie in the current folder or on PYTHONPATH"),
        ("turtle.Other", "import turtle before loading this model, or give EAT_IMPORT=turtle"),
    ],
)
def test_a_kind_that_is_not_there_offers_the_nearest(
    kind: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "agree_lead.py").write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EAT_IMPORT", "agree_lead,not_here")
    with pytest.raises(ValueError, match=f"{re.escape(end)}$"):
        class_of("exit", kind)
    sys.modules.pop("agree_lead", None)


def test_where_a_module_of_ones_own_must_lie_is_said():
    fault = "reduction._target_: there is no cls_diff.ClsDiff (its module must lie in the current "
    fault += "folder or on PYTHONPATH)"
    assert binding_faults("reduction", {"_target_": "cls_diff.ClsDiff"}) == [fault]
    packaged = binding_faults("reduction", {"_target_": "eat_lightning.methods.reduction.no.No"})
    assert packaged[0].endswith("reduction.no.No")
