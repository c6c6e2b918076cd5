"""Canaries: an adapted folder finds out by itself whether it still answers as certified."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.adapting import adapted_by, plan_of, taken
from helpers.finished import config_of

import eat_lightning
from eat_lightning.answer_kind import Score
from eat_lightning.bundle.adapted import AboutAdapted, bound
from eat_lightning.bundle.bundle import CERTIFICATE, Bundle
from eat_lightning.bundle.canaries import CANARIES, Canaries
from eat_lightning.config import parsed
from eat_lightning.deploy.adapt.folder import AdaptResult, surer_rows
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.verify.command import verify
from eat_lightning.errors import ConfigError
from eat_lightning.machine import MACHINE
from eat_lightning.record.point import INT8_EXITS, Point


@pytest.fixture
def copy(adapted: AdaptResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted.plan.to, tmp_path / "adapted"))


def test_a_score_near_a_cut_is_no_canary():
    """Of 20 scores, the twentieth part that is left out is the one nearest to 0.5."""
    scores_N1 = np.linspace(1, 20, 20, dtype=np.float32)[:, None]
    scores_N1[7] = 0.51
    left = surer_rows(Score(cuts=(0.5,)), scores_N1)
    assert left.tolist() == [row for row in range(20) if row != 7]
    assert surer_rows(Score(tolerance=0.1), scores_N1).tolist() == [*range(20)]


def change_certificate(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite what a folder's certificate holds for."""
    path = folder / "certificates" / f"{CERTIFICATE}.json"
    content = json.loads(path.read_text())
    change(content["holds_for"])
    path.write_text(json.dumps(content))


def pretend_certified(folder: Path) -> None:
    """Let the certificate be one of the files as they are now."""
    point = AboutAdapted.read(folder).point
    change_certificate(folder, lambda holds_for: holds_for.update(bound(Bundle(folder), point)))


def served(folder: Path, *words: str) -> Any:
    return open_model(parsed(ServeSettings, config_of("serve", f"run='{folder}'", *words)))


def with_other_classifier(folder: Path) -> None:
    """Turn the signs of the weights of the last layer, so that its answers change."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = -weights[name]
    save_file(weights, path, {"format": "pt"})


def test_a_folder_has_the_certified_logits(copy: Path, texts: Path):
    canaries = Canaries.read(copy)
    [kept] = canaries.texts.values()
    assert 100 < len(kept) <= 200
    assert {*kept} <= {*texts.read_text().splitlines()}
    assert verify(config_of("verify", f"run='{copy}'")).changed == 0


def test_no_canary_is_among_the_least_sure_texts(adapted: AdaptResult, copy: Path):
    """Two of their answers are nearly ties, which rounding decides."""
    margin_N = adapted.original.same.kind.margin(adapted.trace.logits_BC)
    least = np.sort(margin_N)[round(0.05 * len(margin_N))]
    assert adapted.original.same.kind.margin(Canaries.read(copy).logits_NC).min() >= least


def test_another_processor_is_told_and_the_canaries_decide(
    copy: Path, capsys: pytest.CaptureFixture[str]
):
    other = {"processor": "Another CPU", "instructions": ["amx_int8"]}
    change_certificate(copy, lambda holds_for: holds_for.update({MACHINE: other}))
    served(copy)
    err = capsys.readouterr().err
    assert "it was certified on Another CPU" in err
    assert "canaries are answered as certified" in err


def test_what_is_computed_otherwise_now_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch):
    """As early exits in int8 are, of folders before 0.4.1: their certificate does not say how."""
    monkeypatch.setattr(Point, "computation", INT8_EXITS)
    fault = "it was certified with the int8 computation of an earlier version, and 0.4.1 runs here"
    with pytest.raises(ConfigError, match=fault):
        served(copy)
    change_certificate(copy, lambda holds_for: holds_for.update(INT8_EXITS))
    served(copy)


def test_other_answers_are_refused_unless_warned_of(copy: Path, capsys: pytest.CaptureFixture[str]):
    with_other_classifier(copy)
    pretend_certified(copy)
    with pytest.raises(ConfigError, match="canaries are answered otherwise than certified"):
        served(copy)
    served(copy, "machine=warn")
    assert "warning: " in capsys.readouterr().err
    with pytest.raises(ValueError, match="otherwise than certified"):
        eat_lightning.load(copy, check=True)
    assert eat_lightning.load(copy).classify(["a text"])
    assert verify(config_of("verify", f"run='{copy}'")).status == 1


def test_without_canaries_it_is_served_and_a_check_is_refused(copy: Path):
    (copy / CANARIES).unlink()
    served(copy)
    with pytest.raises(ConfigError, match=f"has no {CANARIES}"):
        verify(config_of("verify", f"run='{copy}'"))


def test_damaged_canaries_are_one_line(copy: Path):
    (copy / CANARIES).write_bytes(b"PAR1 no table")
    with pytest.raises(ConfigError, match="cannot be read"):
        served(copy)


@pytest.mark.slow
def test_altered_weights_of_a_graph_are_caught(classifier: Path, few_texts: Path, tmp_path: Path):
    pytest.importorskip("onnxscript")

    def int8_is_fastest(candidates: dict[str, Any], **_: Any) -> Any:
        yield {key: taken(1.0 if key == "onnx int8" else 10.0) for key in candidates}

    folder = tmp_path / "adapted"
    plan = plan_of(classifier, few_texts, folder, "engines=[onnx]", "agree=0.8")
    adapted_by(int8_is_fastest, plan)
    served(folder)
    path = next((folder / "graphs").glob("*/weights.bin"))
    numbers = np.fromfile(path, np.uint8)
    numbers[len(numbers) // 2 :: 3] ^= 0x0F
    numbers.tofile(path)
    with pytest.raises(ConfigError, match="its graphs are not those"):
        served(folder)
    pretend_certified(folder)
    with pytest.raises(ConfigError, match="canaries are answered otherwise than certified"):
        served(folder)
