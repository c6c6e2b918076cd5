"""What loggers are given, at values a person can compute; slow: what W&B and TensorBoard keep."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.commands import finished
from helpers.models import method
from helpers.training import TINY
from hydra import compose, initialize_config_dir

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.config import CONFIG_DIR, plain
from eat_lightning.errors import ConfigError
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record
from eat_lightning.runs.row import Row, read
from eat_lightning.track.log import (
    begun_id,
    has_account,
    log_result,
    log_rows,
    measure_faults,
    numbers_of,
    stays_offline,
    wandb_faults,
    wandb_logger,
)
from eat_lightning.train.module import exits_of, trace_metrics
from eat_lightning.train.plan import planned

CONFIG = {"study": "s", "model": "eat", "task": {"name": "sst2"}, "seed": 1}
NODE = {"_target_": f"{__name__}.FakeWandbLogger", "offline": False, "project": "p"}


class Experiment:
    dir = None

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.logged: dict[str, Any] = {}
        self.log = self.logged.update


class FakeWandbLogger:
    made: list["FakeWandbLogger"] = []  # noqa: RUF012

    def __init__(self, **given: Any):
        self.given, self.experiment = given, Experiment()
        self.metrics: dict[str, float] = {}
        FakeWandbLogger.made.append(self)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics |= metrics


class TensorBoardLogger:
    def log_hyperparams(self, params: Any, metrics: dict[str, float], step: int) -> None:
        self.params, self.metrics, self.step = params, metrics, step


def row(**changes: Any) -> Row:
    given: dict[str, Any] = {
        **{"task": "sst2", "model": "eat", "encoder": "random", "study": "s", "run": "r"},
        **{"attention": {"kind": "dense"}, "reduction": {"kind": "none"}},
        "exit": {"kind": "confidence", "tau": 0.9, "layers": [4]},
        **{"seed": 1, "split": "validation", "num_examples": 4, "metric": "accuracy"},
        **{"num_layers": 6, "depth": 5.5, "retention": 0.5, "token_layers": 0.7},
        **{"exit_shares": {"4": 0.25, "6": 0.75}, "flops": 9.0, "flops_ratio": 0.6},
        **{
            "strength": 1.0,
            "accuracy": 0.75,
            "knob": "tau",
            "point": 0.9,
            "ece_before": {"4": 0.1, "6": 0.2},
        },
    }
    return Row(**(given | changes))


def test_a_rows_numbers_have_a_name_each():
    found = numbers_of(row())
    assert found["dev/accuracy"] == found["dev/score"] == 0.75
    assert (found["dev/exit_share_4"], found["dev/exit_share_6"]) == (0.25, 0.75)
    assert (found["calibration/ece_before_exit_4"], found["dev/depth"]) == (0.1, 5.5)
    assert "dev/latency_ms" not in found
    assert all(isinstance(value, float) for value in found.values())
    assert "train/accuracy" in numbers_of(row(split="train"))
    assert "dev/accuracy" in numbers_of(row(split="validation_mismatched"))


def test_each_logger_gets_the_row_its_own_way():
    board, weights = TensorBoardLogger(), FakeWandbLogger()
    log_result(board, row(), CONFIG, 30)
    assert (board.params, board.step, board.metrics["dev/depth"]) == (CONFIG, 30, 5.5)
    log_result(weights, row(commit="abc"), CONFIG, 30)
    assert weights.metrics == numbers_of(row())
    assert weights.experiment.summary["dev/commit"] == "abc"
    assert weights.experiment.summary["dev/exit"]["tau"] == 0.9
    other: dict[str, float] = {}
    log_result(SimpleNamespace(log_metrics=lambda found, step: other.update(found)), row(), {}, 3)
    assert other == numbers_of(row())


def test_a_run_that_goes_on_keeps_its_id(tmp_path: Path):
    for name in ("run-20260101_000000-first", "run-20260102_000000-second", "offline-run-3-third"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert begun_id(tmp_path) == "second"
    assert wandb_logger(NODE, CONFIG, tmp_path).given["id"] == "second"
    assert "id" not in wandb_logger(NODE, CONFIG, tmp_path, job_type="measure").given


def test_a_broken_mode_is_named_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "foo")
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = plain(compose("train", overrides=["logger=wandb", "data=toy", "encoder=tiny"]))
    with pytest.raises(ConfigError) as caught:
        planned(config)
    (fault,) = str(caught.value).splitlines()
    assert fault.startswith("WANDB_MODE must be one of online, offline, disabled")
    assert fault.endswith("got 'foo'")
    assert measure_faults(config["logger"]) == [fault]
    config["logger"] = {}
    planned(config)
    assert measure_faults({}) == measure_faults(None) == []
    (fault,) = measure_faults({"_target_": "lightning.pytorch.loggers.TensorBoardLogger"})
    assert fault.startswith("logger must be wandb or null here")


def test_an_account_is_a_key_in_the_environment_or_in_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_account()
    assert stays_offline()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_account()
    assert not stays_offline()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_account()
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert has_account()
    monkeypatch.setenv("WANDB_MODE", "")
    assert wandb_faults(NODE)[0].endswith("got ''")
    for mode, offline in {"offline": True, "dryrun": True, "disabled": False}.items():
        monkeypatch.setenv("WANDB_MODE", mode)
        assert stays_offline() is offline


def recorded(probabilities_B: list[float]) -> Record:
    """Two classes, the right one of this probability; the exit at 4 and the last guess alike."""
    right_B = np.array(probabilities_B)
    logits_BC = np.log(np.stack([right_B, 1 - right_B], 1))
    rule = method("exit", "confidence", tau=0.9, layers=[4])
    size = len(probabilities_B)
    tokens_LB = np.array([[10] * size] * 2 + [[5] * size] * 4)
    return Record(np.zeros(size, int), tokens_LB[0], {4: logits_BC, 6: logits_BC}, tokens_LB, rule)


def test_the_way_under_the_rule_needs_no_second_pass():
    given = recorded([0.95, 0.6, 0.55, 0.99])
    shape = SimpleNamespace(num_layers=6)
    encoder: Any = SimpleNamespace(exit=given.exit, shape=shape, kind=SingleLabel(2))
    guesses = {k: torch.from_numpy(guess_BC) for k, guess_BC in given.guesses.items()}
    in_full_B = torch.full((4,), 6)
    tokens_LB = torch.from_numpy(given.tokens_LB)
    trace = Trace(guesses[6], in_full_B, tokens_LB, in_full_B, guesses=guesses)
    found = trace_metrics(encoder, trace)
    assert exits_of(encoder) == [4, 6]
    assert found["depth"].tolist() == [4, 6, 6, 4]
    assert found["exit_share_4"].tolist() == [1, 0, 0, 1]
    assert found["exit_share_6"].tolist() == [0, 1, 1, 0]
    assert found["token_layers"].tolist() == pytest.approx([30 / 60, 40 / 60, 40 / 60, 30 / 60])


@pytest.mark.parametrize("latency_ms", [None, 2.0])
def test_measured_rows_are_a_run_beside_the_trained_one(tmp_path: Path, latency_ms: float | None):
    FakeWandbLogger.made.clear()
    run: Any = SimpleNamespace(folder=tmp_path / "r", name="r", config=CONFIG, done={"steps": 9})
    rows = [
        row(latency_ms=latency_ms),
        row(exit={"kind": "never"}, knob=None, point=None, latency_ms=latency_ms),
        row(run="other"),
    ]
    log_rows(NODE, rows, [run])
    log_rows(None, rows, [run])
    (made,) = FakeWandbLogger.made
    assert (made.given["job_type"], made.given["group"]) == ("measure", "s")
    assert made.metrics.get("dev/latency_ms") == latency_ms
    charts = {key: len(chart.table.data) for key, chart in made.experiment.logged.items()}
    assert charts == {"frontier/flops": 2} | ({"frontier/latency": 2} if latency_ms else {})


def inspect(folder: Path, *flags: str) -> str:
    wandb = Path(sys.executable).parent / "wandb"
    ask = [wandb, "leet", "inspect", "--json", *flags, folder]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_of_its_own_in_one_group(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
):
    """Without an account. Its curves run over global steps, and the row is its summary."""
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    given = ["trainer.max_steps=10", "trainer.log_every_n_steps=1", "model=eat_pruned"]
    given += ["logger=wandb", "study=tracked", "seed=1,2"]
    finished("eat_lightning.train", "-m", *TINY, *given, env={"HOME": str(outputs)})
    offline = sorted((outputs / "tracked").glob("*/wandb/offline-run-*"))
    begun = [json.loads(inspect(folder).splitlines()[1])["run"] for folder in offline]
    assert [run["run_group"] for run in begun] == ["tracked"] * 2
    assert begun[0]["run_id"] != begun[1]["run_id"]
    records = [json.loads(line) for line in inspect(offline[0]).splitlines()]
    history = [r["history"]["item"] for r in records if r["type"] == "history"]
    steps = {h["trainer/global_step"]: h["train/strength"] for h in history if "train/loss" in h}
    assert [*steps] == [*range(10)]
    assert (steps[0], steps[9]) == (0, 1)
    validated = [h for h in history if "select/score" in h]
    assert [h["trainer/global_step"] for h in validated] == [4, 9]
    shares = [sum(h[f"select/exit_share_{k}"] for k in (3, 4, 6)) for h in validated]
    assert shares == pytest.approx([1, 1])
    told = json.loads(inspect(offline[0], "--summary"))
    assert (told["config"]["seed"], told["state"]) == (1, "finished")
    wanted, summary = numbers_of(read(offline[0].parents[1] / "rows.jsonl")[0]), told["summary"]
    assert {name: summary[name] for name in wanted} == pytest.approx(wanted)
    assert summary["frontier/flops_table"]["nrows"] == 7 + 3  # rules, and a depth for each head
    assert summary["calibration/reliability_table"]["ncols"] == 6
