"""The public functions: their arguments are the settings of a command, and say the same."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import eat_lightning
from eat_lightning.command_help import NO_VALUE, settings_in
from eat_lightning.config import CONFIG_DIR

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "adapt": eat_lightning.adapt,
    "measure": eat_lightning.measure,
    "rerank": eat_lightning.adapt_reranker,
    "verify": eat_lightning.verify,
}
TYPED_DICTS: dict[str, Any] = {
    "heads": eat_lightning.Heads,
    "times": eat_lightning.Times,
    "timing": eat_lightning.MeasureTimes,
    "windows": eat_lightning.Windows,
}
GROUPS = TYPED_DICTS | {"new": eat_lightning.Build, "old": eat_lightning.Build}
NO_ARGUMENTS = {"defaults", "hydra", "format"}
CANARIES = {"verify": {"run"}}  # what the command alone does
CHOICES = ("attention", "reduction", "exit", "policy")  # of Hydra: a name, or a mapping with a kind


def yaml_of(command: str) -> str:
    """A command's yaml, with `model` as a person types it."""
    return Path(CONFIG_DIR, f"{command}.yaml").read_text("utf-8").replace("classifier:", "model:")


def arguments_of(called: Any) -> dict[str, str]:
    """What the docstring says of each argument."""
    _, _, listed = (inspect.getdoc(called) or "").partition("Args:\n")
    parts = re.split(r"^    (\w+): ", listed, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def bare(text: str) -> str:
    """A meaning without what Python and a shell write differently: quotes, spaces, a default."""
    text = text.removeprefix("required: ").replace("None:", "default:")
    return re.sub(r"[\s\"'.;]", "", text).lower()


@pytest.mark.parametrize("command", FUNCTIONS)
def test_the_arguments_and_defaults_are_those_of_the_command(command: str):
    usual = yaml.safe_load(yaml_of(command))
    left_out = NO_ARGUMENTS | CANARIES.get(command, set())
    usual = {key: value for key, value in usual.items() if key not in left_out}
    parameters = inspect.signature(FUNCTIONS[command]).parameters
    assert parameters.keys() == usual.keys()
    for key, parameter in parameters.items():
        default = parameter.default
        if key in GROUPS:
            assert default in (None, parameter.empty), key
            assert usual[key].keys() <= GROUPS[key].__annotations__.keys(), key
        elif isinstance(usual[key], dict):
            assert default is None, key
        elif default is not parameter.empty:
            assert usual[key] == ([*default] if isinstance(default, tuple) else default), key


@pytest.mark.parametrize("command", FUNCTIONS)
def test_the_docstring_and_the_help_say_the_same(command: str):
    """A docstring may go on where the help ends: with a unit, or what else Python takes."""
    about = arguments_of(FUNCTIONS[command])
    for setting in settings_in(yaml_of(command)):
        group, _, key = setting.key.removesuffix(".model").rpartition(".")
        is_choice = key in CHOICES or group in CHOICES
        skipped = NO_ARGUMENTS | CANARIES.get(command, set())
        if is_choice or key in skipped or setting.meaning.startswith("like old."):
            continue
        said = arguments_of(GROUPS[group])[key] if group in GROUPS else about[group or key]
        assert bare(said).startswith(bare(setting.meaning)), setting.key
        if group in TYPED_DICTS and setting.default not in NO_VALUE:
            assert f"default: {setting.default}" in said, setting.key


def test_an_argument_that_is_none_is_python_s_own_error():
    unknown: Any = {"agre": 0.9}
    for function in FUNCTIONS.values():
        with pytest.raises(TypeError, match="agre"):
            function("model", ["one"], **unknown)
