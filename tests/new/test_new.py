"""A method of one's own: what is written works as it is, and nothing is overwritten."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.finished import refused

from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.contracts import Reduction
from eat_lightning.new.__main__ import SLOTS, write
from eat_lightning.new.checks import checks
from eat_lightning.validation import Misshaped


@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_written_keeps_the_contract(
    slot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = f"own_{slot}"
    write(slot, module, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    method = getattr(__import__(module), f"Own{slot.capitalize()}")()
    for check in checks(slot):
        check(method)
    del sys.modules[module]


class Leaky(Reduction):
    """Norms over the whole batch: an example's fate depends on who else is there."""

    place, needs, layers = "after_layer", frozenset(), (2,)

    def __call__(self, packed, evidence, layer):
        from eat_lightning.methods.reduction._gates import keep_where

        norm_N = packed.x_ND.norm(dim=-1)
        return keep_where(packed, (norm_N >= norm_N.mean()) | (packed.layout.index_N == 0))


def test_a_method_that_breaks_a_promise_is_caught():
    failed = []
    for check in checks("reduction"):
        try:
            check(Leaky())
        except AssertionError:
            failed.append(check.__name__)
    assert "batch_is_its_examples" in failed
    assert "every_weight_has_a_gradient" not in failed


@pytest.mark.parametrize(
    ("slot", "base", "hook", "wrong", "line"),
    [
        ("exit", Never, "decides", lambda e: e[-1].long(), "B whole numbers, got 5 x 3"),
        ("exit", Never, "decides", lambda e: e[-1, :, 0] * 0.5, "whole numbers, got float32"),
        ("exit", Never, "decides", lambda e: [0] * e.shape[1], "B whole numbers, got list"),
        ("reduction", NormTopK, "score", lambda p: p.x_ND, "N numbers, got 33 x 16"),
        ("reduction", Keep, "__call__", lambda p: p.x_ND, "a Packed, got Tensor"),
    ],
)
def test_a_wrong_shape_is_one_line(slot: str, base: Any, hook: str, wrong: Any, line: str):
    bad = type(base.__name__, (base,), {hook: lambda self, given, *_: wrong(given)})()
    bad.layers = [2]
    (check,) = (check for check in checks(slot) if check.__name__ == "stream_is_the_batch")
    assert refused(check, bad, error=Misshaped) == f"{base.__name__}.{hook} must give {line}"


def test_nothing_is_replaced_and_names_are_modules(tmp_path: Path):
    (tmp_path / "mine.py").write_text("kept")
    with pytest.raises(ConfigError, match=r"mine.py is there already"):
        write("exit", "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    for name in ("my-idea", "class", "_mine", ""):
        with pytest.raises(ConfigError, match="name must be a module's name"):
            write("exit", name, tmp_path)


def test_it_composes_from_a_folder_of_ones_own(tmp_path: Path):
    def run(*given: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "eat_lightning.train", *given, "--cfg", "job"]
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    write("reduction", "mine", tmp_path)
    composed = run("--config-dir", "configs", "reduction=mine")
    assert "_target_: mine.Mine" in composed.stdout
