"""Runs in, rows and a table out; taus, rules and overrides without training; long texts and graphs;
faults in one line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.finished import called, refused
from helpers.measured import FAST, UNTIMED, call, make_run
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch.nn.modules.module import register_module_forward_pre_hook

import eat_lightning
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.command import main
from eat_lightning.long_texts import LongTexts
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.overrides import with_paths_listed
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import marks, training_mark
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.hf_folder import save_run_model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "task=sst2,model=eat,seed=1,reduction.layers=[2,4]")


def test_a_table_at_once(run: Path, capsys: pytest.CaptureFixture):
    rows = call(f"run={run}", *FAST)
    assert read(run / "rows.jsonl") == rows
    assert [(row.knob, row.point, row.exit.kind) for row in rows[:6]] == [
        ("tau", tau, "confidence") for tau in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    ]
    assert [(row.exit.kind, row.baseline) for row in rows[6:]] == [
        ("never", ""),
        *[("fixed", "fixed depth")] * 4,
        ("never", "own static"),
    ]
    static = rows[-1]
    assert (static.depth, static.retention, static.token_layers) == (6, 1, 1)
    assert (static.flops_ratio, static.speed_up, static.conversion) == (1, 1, 1)
    for row in rows:
        assert (row.num_examples, row.timed_examples, row.repeats, row.threads) == (40, 6, 2, 1)
        assert (row.latency_batch, row.throughput_batch, row.majority) == (1, 4, 0.5)
        assert 0.5 < row.timed_cost < 1.5
        assert row.latency_low_ms <= row.latency_ms <= row.latency_high_ms
        assert row.latency_p50_ms <= row.latency_p90_ms <= row.latency_p99_ms
        assert row.speed_up == pytest.approx(static.latency_ms / row.latency_ms)
        assert row.conversion == pytest.approx(row.speed_up * row.flops_ratio)
        assert row.ece_before == {"4": 0.05, "6": 0.05}
        assert sum(k * n for k, n in shares(row)) == pytest.approx(row.depth)
    depths = [row.depth for row in rows[:7]]
    assert depths == sorted(depths)  # as tau rises
    assert {(row.data, len(row.data)) for row in rows} == {(static.data, 16)}
    table = capsys.readouterr().out
    assert max(map(len, table.split("score:")[0].splitlines())) <= 120
    assert str(run / "rows.jsonl") in table


def shares(row) -> list[tuple[int, float]]:
    return [(int(k), share) for k, share in row.exit_shares.items()]


@pytest.fixture
def sizes() -> Iterator[list[int]]:
    """How many examples each pass of an encoder has."""
    found: list[int] = []

    def noted(module: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(module, AdaptiveEncoder):
            found.append(given[0].size)

    hook = register_module_forward_pre_hook(noted)
    yield found
    hook.remove()


def test_twenty_settings_are_one_pass(run: Path, sizes: list[int]):
    """Each example goes through the encoder once, and every row is that of running its setting."""
    encoder, labels = load_model(run / "model")
    for head in encoder.heads.values():
        head.temperature.fill_(20.0)  # else all are sure
    save_run_model(encoder, labels, run / "model")
    batch = Run.open(run).data().split("validation").batch(range(40))
    with torch.inference_mode():
        sure_B = encoder(batch, ALL_EXITS).guesses[3].softmax(-1).amax(-1)
    taus = [round(float(sure_B.quantile(i / 17)), 6) for i in range(1, 17)]
    looks = [([2, 3], 1), ([3, 4], 1), ([2, 3, 4], 1), ([2, 3, 4], 2)]
    rules = [f"{{kind:patience,layers:{layers},patience:{n}}}" for layers, n in looks]
    sizes.clear()
    given = [f"run={run}", f"exit.tau={taus[0]}", f"taus={taus}", f"rules=[{','.join(rules)}]"]
    rows = call(*given, *UNTIMED, "batch=16")
    settings, fixed, baseline = rows[:20], rows[20:24], rows[24]
    assert [row.baseline for row in settings] == [""] * 20
    assert [row.baseline for row in fixed] == ["fixed depth"] * 4
    assert baseline.baseline == "own static"
    assert sizes == [16, 16, 8] * 2  # the setting's body, and the static one
    sizes.clear()
    call(*given, *UNTIMED, "baselines=none")
    assert sizes == [32, 8]
    sizes.clear()
    for row in settings:
        encoder = encoder.replacing(exit=row.exit.build())
        with torch.inference_mode():
            trace = encoder(batch)
        right = (trace.logits_BC.argmax(-1) == batch.labels_B).double().mean()
        assert row.accuracy == pytest.approx(float(right))
        assert row.depth == pytest.approx(float(trace.depth_B.double().mean()))
        assert row.retention == pytest.approx(float(trace.retention_B.mean()))
    assert sizes == [40] * 20
    assert len({(row.depth, row.retention) for row in settings}) > 10  # not all one


def test_a_second_measurement_supersedes(run: Path):
    given = [f"run={run}", "exit.tau=0.9", "baselines=none"]
    call(*given, *UNTIMED)
    again = call(*given, *FAST, "timing.examples=7")
    assert [row.timed_examples for row in again] == [7]
    assert read(run / "rows.jsonl") == again


@pytest.mark.parametrize(
    ("given", "exits"),
    [
        (["taus=[0.7,0.9]"], [("confidence", 0.5), ("confidence", 0.7), ("confidence", 0.9)]),
        (["exit=patience", "head.layers=[3,4]"], [("patience", None)]),
        (
            ["taus=[]", "rules=[{kind:patience,layers:[2,4]}]"],
            [("confidence", 0.5), ("patience", None)],
        ),
        (["exit=confidence", "taus=[0.6,0.9]"], [("confidence", 0.6), ("confidence", 0.9)]),
    ],
)
def test_exit_rules(run: Path, given: list[str], exits: list[tuple]):
    rows = call(f"run={run}", *given, "baselines=false", *UNTIMED)
    assert [(row.exit.kind, row.point) for row in rows] == exits


def test_rules_beside_it_look_at_each_early_head_too(run: Path):
    given = ["rules=[{kind:patience},{kind:entropy,layers:[3]},{kind:never}]", "taus=[]"]
    _, *others = call(f"run={run}", *given, "baselines=none", *UNTIMED)
    assert [row.exit.arguments.get("layers") for row in others] == [[2, 3, 4], [3], None]


def test_attention_and_reduction_of_ones_choice(run: Path):
    changes = ["reduction.ratio=0.5", "exit=never", "baselines=none", *UNTIMED]
    (halved,) = call(f"run={run}", *changes)
    assert halved.reduction.as_dict() == {"kind": "norm_topk", "ratio": 0.5, "layers": [2, 4]}
    changes[0:1] = ["reduction=cls_topk", "reduction.ratio=0.2", "attention=longformer"]
    (other,) = call(f"run={run}", *changes)
    assert other.reduction.kind == "cls_topk"
    assert other.attention.as_dict() == {"kind": "longformer", "window": 32, "layers": None}
    assert other.retention > halved.retention
    assert len(read(run / "rows.jsonl")) == 2


def test_baselines_of_both_kernels(run: Path):
    rows = call(f"run={run}", "exit=never", "baselines=true", *FAST)
    ours, theirs = rows[-2:]
    assert (ours.baseline, ours.kernels) == ("own static", "ours")
    assert (theirs.baseline, theirs.kernels, theirs.form) == ("hugging face", "hf_eager", "plain")
    assert theirs.accuracy == ours.accuracy
    assert theirs.speed_up == pytest.approx(ours.latency_ms / theirs.latency_ms)


def test_several_runs(tmp_path: Path):
    for seed in (1, 2):
        make_run(tmp_path / "study" / f"task=sst2,seed={seed}", "sst2", "never", seed=seed)
    folders = sorted((tmp_path / "study").iterdir())
    as_study = call(f"run={tmp_path / 'study'}", *UNTIMED, "baselines=fixed")
    assert [row.seed for row in as_study] == [1] * 5 + [2] * 5
    listed = call(*(f"run={folder}" for folder in folders), "baselines=none", *UNTIMED)
    assert [row.seed for row in listed] == [1, 2]
    pattern = call(f"run={tmp_path}/study/*seed=2", "baselines=none", *UNTIMED)
    assert [row.seed for row in pattern] == [2]
    assert {row.seed for row in read(folders[0] / "rows.jsonl")} == {1}


def test_a_regression(tmp_path: Path):
    run = make_run(tmp_path / "stsb", "stsb", "never")
    row, *fixed, static = call(f"run={run}", *UNTIMED)
    assert [each.adaptivity_gain for each in (row, *fixed)] == [None] * 5
    assert row.accuracy is None
    assert row.majority is None
    assert -1 <= row.pearson <= 1
    assert row.metric in ("pearson", "spearman")
    assert static.retention == 1
    with pytest.raises(ConfigError, match="this task is a regression: use exit=never"):
        call(f"run={run}", "exit=confidence", *UNTIMED)


def test_a_dtype_is_another_row(run: Path):
    for dtype, baselines in (("fp32", "none"), ("bf16", "none"), ("int8", "hf")):
        call(f"run={run}", "exit.tau=0.9", f"baselines={baselines}", f"dtype={dtype}", *UNTIMED)
    rows = read(run / "rows.jsonl")
    assert [row.dtype for row in rows] == ["fp32", "bf16", "int8", "int8"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["exit=never", "taus=[0.5]"],
            r"taus needs an exit rule with a knob, got never: add exit=confidence",
        ),
        (["rules=[{kind:oracle}]"], r"there is no exit called 'oracle'"),
        (["reduction=ltp"], r"reduction=ltp learns, and this run was trained with norm_topk"),
        (["taus=[0.5]", "points=[0.5]"], r"points and taus are one setting"),
        (["backend=onnx", "budgets=[12ms]"], r"budgets=12ms: the dial.s times are PyTorch.s"),
        (["split=test"], r"split must be one of validation, .*, got 'test'"),
        (["baselines=some"], r"baselines must be one of own, hf, all, none.*, got 'some'"),
    ],
)
def test_bad_input_is_one_line(run: Path, given: list[str], message: str):
    with pytest.raises(ConfigError, match=message) as error:
        call(f"run={run}", *given)
    assert "\n" not in str(error.value)
    assert not (run / "rows.jsonl").exists()


def test_all_faults_at_once(run: Path, tmp_path: Path):
    with pytest.raises(ConfigError) as error:
        call(f"run={run}", "exit.tau=2", "reduction.ratio=-1", "attention.layers=[0]", "split=x")
    lines = str(error.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        "attention.layers",
        "reduction.ratio",
        "exit.tau",
        "split",
    ]
    with pytest.raises(ConfigError) as error:
        call("run=no", "run=nowhere", "dtype=int3", "threads=0")
    assert len(str(error.value).splitlines()) == 4


def test_nothing_is_timed_while_something_trains(
    run: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
):
    with training_mark():
        rows = call(f"run={run}", "exit.tau=0.9", "baselines=none", *FAST)
        assert read(run / "rows.jsonl") == rows
        assert all(row.latency_ms is None for row in rows)
        assert f"a run is training on this machine (process {os.getpid()})" in (
            capsys.readouterr().out
        )
    (marks() / "1").touch()  # left by a killed run, and the number is another process's now
    assert call(f"run={run}", "exit.tau=0.9", "baselines=none", *FAST)[0].latency_ms


def test_names_with_commas_reach_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("task=a,seed=1", "task=a,seed=2"):
        Path(name).mkdir()
    quoted = "run=['task=a,seed=1','task=a,seed=2']"
    assert with_paths_listed(["run=[task=a,seed=1,task=a,seed=2]"], "run") == [quoted]
    assert with_paths_listed(["x=1", "run=task=a,seed=1"], "run") == [
        "x=1",
        "run=['task=a,seed=1']",
    ]
    assert with_paths_listed(["--help"], "run") == ["--help"]


def test_the_command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert called(main, f"run={run}", "exit.tau=1.5", "exit.layers=[9]") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: exit.tau must be at most 1, got 1.5",
        "error: exit.layers must be in 0..6, got 9",
    ]
    assert called(main, f"run={run}", "exit.tau=0.9", *UNTIMED) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "tau 0.9" in out
    assert sorted(tmp_path.iterdir()) == before  # no folders of Hydra's


def test_python_gets_a_row_for_each_setting(run: Path):
    """Groups of the command are names or mappings, and their values are columns."""
    given: Any = {"baselines": "none", "timing": {"enabled": False}}
    [by_name] = eat_lightning.measure(
        run, exit="patience", head={"layers": [2, 4]}, **given
    ).to_dict("records")
    assert (by_name["exit.kind"], by_name["exit.layers"]) == ("patience", [2, 4])
    settings = {"kind": "confidence", "tau": 0.7, "layers": [2, 4]}
    found = eat_lightning.measure([run], taus=(0.8,), exit=settings, policy=["veto"], **given)
    assert found["exit.tau"].tolist() == [0.7, 0.8]
    assert found["policy"][0][0]["kind"] == "veto"
    with initialize_config_dir(str(run), version_base="1.3"):  # as within a job of Hydra's
        policy = {"veto": {"margin": 0.3}}
        own = eat_lightning.measure(run, exit={"tau": 0.9}, policy=policy, **given)
        assert GlobalHydra.instance().is_initialized()
    assert (own["exit.tau"][0], own["policy"][0][0]["margin"]) == (0.9, 0.3)
    for wrong, said in (
        ({"exit": "oracle"}, "exit must be one of beem, "),
        ({"exit": {"tua": 0.9}}, "exit.tua is not an option of confidence, which has tau, layers"),
        ({"timing": {"repeat": 3}}, "timing.repeat is not an option"),
        ({"dtype": "int3"}, "dtype must be one of fp32, bf16, int8, got 'int3'"),
    ):
        assert refused(eat_lightning.measure, run, error=ValueError, **wrong).startswith(said)


WINDOWS = {"size": 9, "overlap": 3, "label": "negative"}


def words(**changes: object) -> list[str]:
    return ["long=windows", *(f"windows.{k}={v}" for k, v in (WINDOWS | changes).items())]


@pytest.mark.parametrize("join", ["any", "max"])
def test_a_row_is_of_texts_as_they_are_answered(run: Path, join: str):
    rows = call(f"run={run}", "exit.tau=0.6", "baselines=own", *words(join=join), *UNTIMED)
    row, static = rows[0], rows[-1]
    split = Run.open(run).data().split("validation")
    backend = TorchModel.open(run, exit={"tau": 0.6})
    backend.read_long(LongTexts("windows", join=join, **WINDOWS))  # type: ignore[arg-type]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    assert {answer["windows"] for answer in answers} > {1, 2}
    said = np.array([backend.labels.index(answer["label"]) for answer in answers])
    assert row.accuracy == pytest.approx((said == split.labels).mean())
    assert row.depth == pytest.approx(np.mean([answer["depth"] for answer in answers]))
    assert (row.num_examples, row.data) == (len(split), split.source.digest[:16])
    assert row.windows == f"of 9 tokens, 3 shared, {join} of negative"
    assert join == "any" or row.flops < static.flops
    assert (static.flops_ratio == pytest.approx(1)) == (join == "max")  # `any` may end a text
    assert row.examples == ""
    assert not (run / "rows.jsonl").exists()
    assert row in read(run / "rows-windows.jsonl")


def test_whole_texts_are_timed(run: Path, capsys: pytest.CaptureFixture[str]):
    (row,) = call(f"run={run}", "exit.tau=0.6", "baselines=none", *words(), *FAST)
    assert (row.timed_examples, row.latency_batch, row.throughput_batch) == (6, 1, 4)
    said = capsys.readouterr().out
    assert "long texts: in windows of 9 tokens, 3 shared, any of negative" in said
    assert f"rows: {run / 'rows-windows.jsonl'}" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([*words(), "backend=onnx"], "backend=onnx is for long=cut, got windows"),
        ([*words(), "policy=veto"], "policy is for long=cut, got windows"),
    ],
)
def test_a_fault_is_named(run: Path, given: list[str], said: str):
    assert refused(call, f"run={run}", *given, *UNTIMED).startswith(said)


@pytest.mark.slow
def test_rows_of_graphs_say_what_the_encoder_says(run: Path):
    settings = (f"run={run}", "points=[]", "baselines=static")  # each setting is an export
    own, _ = call(*settings, *UNTIMED, "prepack=false")
    row, static = call(*settings, *FAST, "backend=onnx")
    assert (row.kernels, row.engine, row.form) == ("onnx", "onnx", "plain")
    assert (row.exit, row.reduction, row.data) == (own.exit, own.reduction, own.data)
    assert (row.accuracy, row.depth) == (own.accuracy, own.depth)
    assert (row.flops, row.adaptivity_gain) == pytest.approx((own.flops, own.adaptivity_gain))
    assert row.latency_ms > 0
    assert (static.baseline, static.kernels, static.speed_up) == ("own static", "onnx", 1.0)
    assert {each.engine for each in read(run / "rows.jsonl")} == {"torch", "onnx"}


def test_a_rule_that_no_graph_holds_is_refused(run: Path):
    with pytest.raises(ConfigError, match="backend=onnx: exit=random observes a signal"):
        call(f"run={run}", *UNTIMED, "backend=onnx", "rules=[{kind:random}]")
