"""A budget wherever a run answers: one dial fitted on the calibration cut, kept, found by all."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import finished, toy
from helpers.models import method

from eat_lightning.bundle.hf import EatForSequenceClassification
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.config import parsed
from eat_lightning.deploy.certify.command import certify
from eat_lightning.deploy.predict.explain import explained
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.command import measure
from eat_lightning.record.cost_table import CostTable
from eat_lightning.record.dial import Budget
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import training_mark
from eat_lightning.weights.hf_folder import save_run_model

TEXTS = [["a fine film"], ["not good at all , and far too long"], ["dull"]]
HALF = {"budget": 0.7}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without training, on a small cut, with its dial."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    head = {"layers": [2, 3, 4], "pool": "mean"}
    encoder = finished.tiny_for("sst2", "confidence", head=head, max_positions=300)
    encoder = encoder.replacing(exit=method("exit", "confidence", tau=0.9, layers=[3, 4]))
    heads: Any = encoder.heads
    for classifier in heads.values():
        classifier.temperature.fill_(8.0)  # else all are sure
    data = {"num_validation": 30, "calibration": 80, "cache_dir": str(folder / "cache")}
    named = {"encoder": {"pretrained": None}, "seed": 1, "model": "eat", "study": "s"}
    finished.finish(folder, encoder, "sst2", data | {"_target_": toy.TARGET}, **named)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAT_IMPORT", toy.__name__)
        TorchModel.open(folder, exit=HALF)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAT_IMPORT", toy.__name__)
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let nothing read some parts of the data. A pass for a fit reads select and temperature."""
    return lambda *names: monkeypatch.setenv(toy.FORBIDDEN, ",".join(names))


@pytest.fixture
def no_fit(run: Path) -> Iterator[None]:
    """Nothing is fitted or recorded any more: all files of the dial stay as they are."""

    def kept() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (run / "dial").iterdir()}

    before = kept()
    yield
    assert kept() == before


def config_of(name: str, run: Path, *overrides: str) -> dict[str, Any]:
    return finished.config_of(name, f"run='{run}'", *overrides)


def kept(run: Path) -> dict[str, Any]:
    (path,) = (run / "dial").glob("dial-*.json")
    return json.loads(path.read_text())


def knobs(encoder: Any) -> tuple[Any, Any]:
    return encoder.exit.tau, encoder.reduction.ratio


def kept_knobs(found: dict[str, Any]) -> tuple[Any, Any]:
    methods = found["point"]["methods"]
    return methods["exit"]["tau"], methods["reduction"]["ratio"]


def knobs_at(run: Path, budget: float) -> tuple[Any, Any]:
    """Of the dearest kept point within a budget."""
    return kept_knobs(next(point for point in kept(run)["points"] if point["cost"] <= budget))


def test_what_is_kept(run: Path):
    dial = kept(run)
    assert dial["unit"] == "share"
    assert dial["num_examples"] == 40  # select and temperature, of 80 in all
    assert dial["fitted_for"]["exit"] == {"kind": "confidence", "layers": [3, 4]}
    first, *points = dial["points"]
    assert first["agreement"] == 1.0
    for before, point in pairwise((first, *points)):
        taus, ratio = kept_knobs(point)
        assert len(taus) == 2
        assert ratio in (0.4, 0.0, 0.1, 0.3, 0.5)
        assert point["cost"] < before["cost"]
        assert point["agreement"] < before["agreement"]
    assert len(list((run / "dial").glob("cut-*.parquet"))) == 5  # one for each of the ratios
    assert not list((run / "dial").glob("*.part"))


def agreeing(run: Path, agree: float) -> tuple[Any, Any]:
    """Knobs of the cheapest kept point that agrees so often."""
    point = [point for point in kept(run)["points"] if point["agreement"] >= agree][-1]
    return kept_knobs(point)


@pytest.mark.parametrize(
    ("key", "value", "given", "point"),
    [("budget", 0.7, "budgets=[0.7]", knobs_at), ("agree", 0.9, "agree=[0.9]", agreeing)],
)
def test_every_command_finds_the_same_point(
    run: Path, no_fit: None, key: str, value: float, given: str, point: Callable[..., Any]
):
    at = point(run, value)
    assert knobs(TorchModel.open(run, exit={key: value}).encoder) == at
    served = parsed(ServeSettings, config_of("serve", run, f"exit.{key}={value}"))
    assert knobs(served.open().encoder) == at
    rows = measure(config_of("measure", run, given, "baselines=none", "timing.enabled=false"))
    (row,) = [row for row in rows if getattr(row, key)]
    assert (row.point, row.reduction.arguments["ratio"], getattr(row, key)) == (*at, value)


def test_an_export_holds_the_fitted_point(run: Path, no_fit: None, monkeypatch: pytest.MonkeyPatch):
    """What it says of its graphs, which are not traced here."""
    pytest.importorskip("onnxscript")
    from helpers.exports import exported

    monkeypatch.setattr("eat_lightning.bundle.graphs.graph_folder.Graphs.write", lambda *_: None)
    about = json.loads((exported(run, "exit.budget=0.5") / "export.json").read_text())
    taus, ratio = knobs_at(run, 0.5)
    open_ones = [tau for tau in taus if tau < 1]
    assert about["exit"]["tau"] == open_ones != []
    assert len(about["stretches"]) == len(open_ones) + 1
    assert about["reduction"]["ratio"] == ratio


def test_a_fit_looks_at_neither_dev_nor_the_certificates_part(run: Path, forbid):
    forbid("validation", "certificate", "train")
    dial = kept(run)
    shutil.rmtree(run / "dial")
    TorchModel.open(run, exit={"budget": 0.6})
    TorchModel.open(run, exit={"agree": 0.9})
    assert kept(run) == dial


def test_another_fit_needs_no_pass_and_no_data(run: Path, forbid):
    forbid("validation", "certificate", "train", "select", "temperature")
    dial = kept(run)
    next((run / "dial").glob("dial-*.json")).unlink()
    TorchModel.open(run, exit=HALF)
    assert kept(run)["points"] == dial["points"]
    rule = {"_target_": "eat_lightning.methods.exit.entropy.Entropy", "layers": [3, 4]}
    TorchModel.open(run, exit=rule | HALF)
    assert len(list((run / "dial").glob("dial-*.json"))) == 2


def test_a_certificate_stands_on_top_and_looks_at_its_own_part(run: Path, forbid):
    forbid("validation", "select", "temperature", "train")
    given = ["exit.budget=0.7", "risk=disagreement", "level=0.9", "confidence=0.5"]
    certificate = certify(config_of("certify", run, *given))
    assert certificate.name == "disagreement-0.9-0.5-budget-0.7"
    assert not certificate.fallback
    at = certificate.methods["exit"].tau, certificate.methods["reduction"].ratio
    points = [*map(kept_knobs, kept(run)["points"])]
    assert points.index(at) <= points.index(knobs_at(run, 0.7))
    backend = TorchModel.open(run, certificate=certificate.name)
    assert knobs(backend.encoder) == at
    with pytest.raises(ConfigError, match=r"exit.budget: a certificate has exits of its own"):
        TorchModel.open(run, exit=HALF, certificate=certificate.name)


def test_other_weights_are_another_fit(run: Path, forbid):
    forbid("select", "temperature")
    encoder, labels = Run.open(run).model()
    with torch.no_grad():
        encoder.heads["3"].temperature.fill_(2.0)
    save_run_model(encoder, labels, run / "model")
    with pytest.raises(AssertionError, match="select was looked at"):
        TorchModel.open(run, exit=HALF)


TABLE = CostTable([1, 300], [[2.0, 4.0], [3.0, 6.0], [5.0, 10.0]], [4.8, 9.6], True, 0.02)


def by_table(run: Path, table: CostTable = TABLE) -> Fitter:
    opened = Run.open(run)
    threads = torch.get_num_threads()
    return Fitter(opened, opened.model()[0], threads=threads, tabulate=lambda *_: table)


def test_a_time_is_fitted_by_a_table_of_times(run: Path):
    wanted = Budget.parse("4ms")
    with training_mark(), pytest.raises(ConfigError, match=r"a run is training .* such as 0.5"):
        by_table(run).points(wanted)
    first, *_, last = by_table(run).points(wanted)
    assert first.cost > 4 >= last.cost
    dials = [json.loads(path.read_text()) for path in (run / "dial").glob("dial-*.json")]
    (dial,) = [each for each in dials if each["unit"] == "ms"]
    assert dial["times"] == asdict(TABLE)
    assert dial["fitted_for"]["threads"] == torch.get_num_threads()
    with pytest.raises(ConfigError, match=r"budget must be at least 2\.\d+ ms, .*, got 1ms"):
        by_table(run).points(Budget.parse("1ms"))
    with training_mark():  # what is kept needs no clock
        assert by_table(run).points(wanted)[-1].cost == last.cost


@pytest.mark.parametrize("closes", [True, False])
def test_full_depth_takes_what_its_heads_take_where_they_guess_all_the_same(
    run: Path, closes: bool
):
    dial = by_table(run, replace(TABLE, closes=closes)).dial(Budget.parse("4ms"))
    full_ms = TABLE.closed_ms if closes else TABLE.ms[-1]  # the same lengths make both
    assert dial.points[0].cost / full_ms[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("exit", "fault"),
    [
        ({"budget": 0}, r"exit.budget must be in \(0, 1\], a share of full FLOPs, .* got 0"),
        ({"budget": "12s"}, r"exit.budget must be in \(0, 1\], .*, got 12s"),
        ({"budget": 0.5, "tau": 0.8}, r"exit.budget and exit.tau are one setting, got 0.5 and 0.8"),
        ({"agree": 1.5}, r"exit.agree must be in \(0, 1\], the share of answers .* got 1.5"),
        ({"agree": "all"}, r"exit.agree must be in \(0, 1\], .*, got all"),
        ({"agree": 0.9, "budget": 0.5}, r"exit.budget and exit.agree are one setting, got 0.5 and"),
        ({"agree": 0.9, "tau": 0.8}, r"exit.agree and exit.tau are one setting, got 0.9 and 0.8"),
        ({"fit_reduction": False}, r"exit.fit_reduction is for exit.budget, got False"),
        (
            {"budget": 0.5, "_target_": "eat_lightning.methods.exit.never.Never"},
            r"budget=0.5: it needs an exit rule with a knob, such as tau, got never",
        ),
        ({"budget": 0.01}, r"run: budget must be at least 0\.\d+, what leaving as early"),
    ],
)
def test_what_cannot_be_is_one_line(run: Path, exit: dict[str, Any], fault: str):
    with pytest.raises(ConfigError, match=fault) as error:
        TorchModel.open(run, exit=exit)
    assert "\n" not in str(error.value)
    assert len(list((run / "dial").glob("dial-*.json"))) == 1


@pytest.mark.parametrize("content", ["{", '{"unit": "share"}', "[]", '{"points": [{}]}'])
def test_a_damaged_dial_is_one_line(run: Path, content: str):
    (path,) = (run / "dial").glob("dial-*.json")
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"dial-.*json: not a dial") as error:
        TorchModel.open(run, exit=HALF)
    assert "\n" not in str(error.value)


def test_a_point_beyond_the_knob_is_refused(run: Path):
    (path,) = (run / "dial").glob("dial-*.json")
    dial = kept(run)
    for point in dial["points"]:
        point["point"]["methods"]["exit"]["tau"] = [0.5, 7.0]
    path.write_text(json.dumps(dial))
    with pytest.raises(ConfigError, match=r"tau must be at most 1, got 7.0"):
        TorchModel.open(run, exit=HALF)


def test_the_dial_of_a_run_that_answers(run: Path):
    model = TorchModel.open(run)
    early = model.at(Budget(0.7))
    assert knobs(early.encoder) == knobs_at(run, 0.7)
    at_07 = [answer["depth"] for answer in early.answer(TEXTS)]
    earlier = early.at(Budget(0.45))  # little more than the first exit costs
    assert sum(answer["depth"] for answer in earlier.answer(TEXTS)) <= sum(at_07)
    assert knobs(earlier.at(Budget(0.7)).encoder) == knobs(early.encoder)
    assert knobs(model.at(Budget(1.0, "agree")).encoder) == knobs_at(run, 1.0)
    assert knobs(TorchModel.open(run, budget=0.7).encoder) == knobs(early.encoder)
    with pytest.raises(ConfigError, match=r"budget must be in \(0, 1\]"):
        TorchModel.open(run, budget=2)
    with pytest.raises(ConfigError, match=r"agree must be in \(0, 1\]"):
        TorchModel.open(run, agree=2)


def test_the_dial_of_a_hugging_face_model(run: Path):
    model = EatForSequenceClassification.from_pretrained(run / "model")
    model.set_budget(0.7)
    at = knobs_at(run, 0.7)
    assert knobs(model.encoder) == at
    model.set_agreement(1.0)
    assert knobs(model.encoder) == knobs_at(run, 1.0)
    model.set_budget(0.7)  # from the methods as they were loaded
    assert knobs(model.encoder) == at
    with pytest.raises(ValueError, match=r"budget must be at least 0\.\d+, .*, got 0.01"):
        model.set_budget(0.01)
    with pytest.raises(ValueError, match=r"keeps no dial in milliseconds, got 9ms: .*budgets="):
        model.set_budget("9ms")
    model.save_pretrained(run / "elsewhere" / "model")
    again = EatForSequenceClassification.from_pretrained(run / "elsewhere" / "model")
    assert knobs(again.encoder) == at
    with pytest.raises(ValueError, match=r"keeps no dial for these methods, got 0\.7"):
        again.set_budget(0.7)


def test_one_text_shows_its_way(run: Path):
    backend = TorchModel.open(run, exit={"tau": 1.0})
    *exits, last = explained(backend, "a fine film")
    assert [line.split(":")[0] for line in exits] == ["layer 3", "layer 4", "layer 6"]
    assert exits[0].endswith("tau 1: goes on")
    assert exits[-1].endswith(": leaves")
    (answer,) = backend.answer([["a fine film"]])
    assert last.startswith(f"{answer['label']} after 6 of 6 layers: last_layer")
    early = explained(TorchModel.open(run, exit={"tau": 0.01}), "a fine film")
    assert len(early) == 2
    assert early[0].endswith("tau 0.01: leaves")
    with pytest.raises(ConfigError, match=r"text must be 1 \(sentence\), got \['a', 'b'\]"):
        explained(backend, ["a", "b"])
