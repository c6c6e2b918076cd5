"""The contracts of methods: hooks are called by name and never looked up, and none is misspelt."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.models import method
from torch import nn

from eat_lightning.answer_kind import SINGLE
from eat_lightning.config import binding_faults
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model import contracts
from eat_lightning.model.contracts import ExitRule, Method, Objective, Reduction, overrides

PACKAGE = Path(contracts.__file__).parents[2]
ROOMS = ("model", "methods", "train", "infer", "weights", "export", "measure", "runs", "new")
HOOKS = {
    name
    for contract in vars(contracts).values()
    if isinstance(contract, type) and issubclass(contract, Method)
    for base in contract.__mro__
    if base.__module__.startswith("eat_lightning.model.")
    for name in {*vars(base), *vars(base).get("__annotations__", {})}
    if not name.startswith("_")
}


def looked_up(path: Path) -> list[str]:
    """The hooks that a file looks up by name."""
    calls = (n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call))
    names = [
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr")
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    ]
    return [f"{path.relative_to(PACKAGE)}: {name}" for name in names if name in HOOKS]


def test_no_hook_is_looked_up_by_name():
    assert {"observe", "soften", "flow", "knob", "layers"} <= HOOKS
    files = [path for room in ROOMS for path in (PACKAGE / room).rglob("*.py")]
    assert [found for path in files for found in looked_up(path)] == []


def turned(self, signals_EBS, logits_EBC): ...


@pytest.mark.parametrize(
    ("bases", "name", "value", "said"),
    [
        ((ExitRule,), "margin", lambda self, logits_BC: 0, "(logits_BC) has the name of a hook"),
        ((ExitRule,), "margin", lambda self, a, b: 0, "(a, b) has the name of a hook that takes "),
        ((ExitRule,), "decides", lambda self, logits: 0, "(logits) has the name of a hook that ta"),
        ((ExitRule,), "decides", turned, "(signals_EBS, logits_EBC) has the name of a hook that"),
        ((Confidence,), "least_led", 0.5, " is no hook of ExitRule: did you mean least_lead"),
        ((Reduction, nn.Module), "sofen", None, " is no hook of Reduction: did you mean soften"),
        ((Reduction,), "neds", frozenset(), " is no hook of Reduction: did you mean needs"),
        ((Objective,), "colour", "red", " is no hook of Objective and no argument (an arg"),
    ],
)
def test_a_hook_is_neither_misspelt_nor_taken_for_something_else(
    bases: tuple[type, ...], name: str, value: Any, said: str
):
    """It is refused where the class is made."""
    with pytest.raises(TypeError, match=re.escape(f"Mine.{name}{said}")):
        type("Mine", bases, {name: value})


def test_a_misspelt_hook_is_one_line_for_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = "from eat_lightning.methods.exit.confidence import Confidence\n"
    (tmp_path / "mis_spelt.py").write_text(f"{text}class Mine(Confidence):\n    last_onyl = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    (fault,) = binding_faults("exit", {"_target_": "mis_spelt.Mine"})
    start = "exit._target_: Mine.last_onyl is no hook of ExitRule: did you mean last_only? "
    assert re.match(re.escape(start), fault)


def test_a_module_that_python_cannot_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "unread.py").write_text("class Mine:\n    layers = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    (fault,) = binding_faults("exit", {"_target_": "unread.Mine"})
    assert re.match(r"exit\._target_: .*unread\.py, line 2: ", fault)


def test_helpers_arguments_and_hooks_for_subclasses_are_free():
    class Free(ExitRule):
        def margin(self, guesses): ...

    class Mine(Confidence):
        colour: str = "red"

        def _helper(self): ...

    assert Free.margin is not ExitRule.margin
    assert Mine().kinds == (SINGLE,)
    assert not overrides(Mine, ExitRule.observe)
    assert overrides(method("exit", "cats"), ExitRule.observe)
