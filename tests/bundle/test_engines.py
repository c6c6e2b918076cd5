"""A run in any engine answers as it does in torch; the fastest is found once for a machine."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.exports import make_run, shared_export
from helpers.gateways import plan
from helpers.models import method
from helpers.pairs_at_0 import PAIRS, leaving_at_0, make_pairs_run, pairs_batch

from eat_lightning.bundle import race, run_graphs, trials
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.graphs.graph import NEXT, graph
from eat_lightning.bundle.graphs.trace import sample, stretches, with_open_exits
from eat_lightning.bundle.graphs.weights import copy_sharing
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.race import made_texts
from eat_lightning.bundle.sessions import ENGINES, engine_faults
from eat_lightning.bundle.trials import EngineTrial, this_machine
from eat_lightning.errors import ConfigError
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.specification import Specification
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import training_mark

pytest.importorskip("onnxscript")
pytest.importorskip("openvino")
PAIRED = ["aligned", "pair"]  # heads of two texts
TEXTS = made_texts(["good", "bad", "film", "not", "very", "the"], 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared run, whose export lies where an engine keeps its graphs."""
    run = Path(shutil.copytree(shared_export(), tmp_path_factory.mktemp("runs") / "one"))
    encoder, _ = Run.open(run).model()
    made = run_graphs.made_of(Run.open(run), with_open_exits(encoder, ()), "fp32")
    (run / run_graphs.FOLDER).mkdir()
    name = f"fp32-{run_graphs.at_any_point(made)}-{trials.digest_of(made)[:12]}"
    kept = run / run_graphs.FOLDER / name
    (run / "graphs/onnx-fp32").rename(kept)
    return run


def opened(run: Path, backend: str, **asked: Any) -> Any:
    return plan(run=str(run), backend=backend, threads=1, long="cut", **asked).open()


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], within: float) -> None:
    for our, their in zip(ours, theirs, strict=True):
        assert our["confidence"] == pytest.approx(their["confidence"], abs=within)
        assert {**our, "confidence": 0} == {**their, "confidence": 0}


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_run_in_an_engine_answers_as_in_torch(run: Path, engine: str):
    """In a batch and one by one: label, depth, reason and retention of each."""
    ours, theirs = (opened(run, name) for name in ("torch", engine))
    assert_same(theirs.answer(TEXTS), ours.answer(TEXTS), 1e-4)
    for text in TEXTS[:4]:
        assert_same(theirs.answer([text]), ours.answer([text]), 1e-4)
    assert len({answer["depth"] for answer in ours.answer(TEXTS)}) > 1


@pytest.fixture(params=[*ENGINES])
def engine(request: pytest.FixtureRequest) -> str:
    if faults := engine_faults(request.param):
        pytest.skip(faults[0])
    return request.param


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of pairs by the kind of their heads; engines keep graphs in them."""
    return {kind: make_pairs_run(tmp_path_factory.mktemp(kind) / "run", kind) for kind in PAIRED}


@cache
def first_graph(kind: str) -> bytes:
    """The embedding and the head on it, for a batch."""
    first = stretches(leaving_at_0(kind), alone=False)[0]
    return graph(first, sample(first, 0)).SerializeToString()


@pytest.mark.parametrize("kind", [PAIRED[0], pytest.param(PAIRED[1], marks=pytest.mark.slow)])
def test_the_first_graph_guesses_and_decides_as_the_encoder_does(
    kind: str, engine: str, tmp_path: Path
):
    (tmp_path / "layers-0.onnx").write_bytes(first_graph(kind))
    session = ENGINES[engine](tmp_path / "layers-0.onnx", 1, "fp32")
    encoder, batch = leaving_at_0(kind), pairs_batch()
    state = {name: getattr(batch, name).numpy() for name in ("ids_N", "types_N", "lengths_B")}
    found = dict(zip(session.gives, session(state), strict=True))
    with torch.no_grad():
        guess_BC, depth_B = encoder(batch, ALL_EXITS).guesses[0], encoder(batch).depth_B
    np.testing.assert_allclose(found[f"{NEXT}logits_BC"], guess_BC, atol=1e-4)
    assert (found[f"{NEXT}reason_B"] > 0).tolist() == (depth_B == 0).tolist()
    assert {*depth_B.tolist()} == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
@pytest.mark.parametrize("kind", PAIRED)
def test_pairs_leave_at_0_in_an_engine_as_in_torch(
    kind: str, dtype: str, engine: str, runs: dict[str, Path]
):
    """In a batch, and one by one. In int8 each engine rounds in its own way."""
    models = [opened(runs[kind], name, dtype=dtype) for name in ("torch", engine)]
    for texts in (PAIRS, *([pair] for pair in PAIRS[:6])):
        ours, theirs = (model.answer(texts) for model in models)
        if dtype == "fp32":
            assert [a["depth"] == 0 for a in theirs] == [a["depth"] == 0 for a in ours]
            assert_same(theirs, ours, 1e-4)
        elif texts is PAIRS:
            check_rounded(ours, theirs)
            fp32 = opened(runs[kind], "torch", dtype="fp32").answer(PAIRS)
            assert [a["confidence"] for a in ours] != [a["confidence"] for a in fp32]


def check_rounded(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Answers in int8 of two engines: most leave at 0 in both or in neither, with labels that
    mostly agree and, at 0, nearly the same confidence."""
    pairs = [*zip(ours, theirs, strict=True)]
    assert 0 < sum(a["depth"] == 0 for a in ours) < len(ours)
    assert np.mean([(a["depth"] == 0) == (b["depth"] == 0) for a, b in pairs]) > 0.8
    assert np.mean([a["label"] == b["label"] for a, b in pairs]) > 0.8
    early = [(a, b) for a, b in pairs if a["depth"] == b["depth"] == 0]
    assert max(abs(a["confidence"] - b["confidence"]) for a, b in early) < 0.03


@pytest.mark.slow
def test_int8_is_that_of_the_run_in_int8(run: Path):
    """OpenVINO's own products stand for those that it reads wrongly."""
    wanted = opened(run, "torch", dtype="int8").answer(TEXTS)
    found = opened(run, "openvino", dtype="int8").answer(TEXTS)
    pairs = [*zip(found, wanted, strict=True)]
    assert np.mean([a["label"] == b["label"] for a, b in pairs]) > 0.9
    assert np.mean([abs(a["confidence"] - b["confidence"]) for a, b in pairs]) < 0.05
    fp32 = opened(run, "torch").answer(TEXTS)
    assert [a["confidence"] for a in found] != [a["confidence"] for a in fp32]


@pytest.mark.nightly
def test_its_int8_products_by_hand(run: Path):
    """A row times whole weights: each row by its own scale, whatever its company."""
    backend = opened(run, "openvino", dtype="int8")
    together = backend.answer(TEXTS[:8])
    alone = [backend.answer([text])[0] for text in TEXTS[:8]]
    assert_same(alone, together, 1e-4)


def test_graphs_are_made_once(run: Path):
    opened(run, "onnx")
    (folder,) = {p for p in (run / "engines").iterdir() if p.name.startswith("fp32")}
    made = (folder / "export.json").stat().st_mtime_ns
    opened(run, "openvino")
    opened(run, "onnx")
    assert (folder / "export.json").stat().st_mtime_ns == made


def test_graphs_at_other_points_are_those_that_would_be_made_anew(run: Path, tmp_path: Path):
    """Both can then be opened, and copied into a bundle."""
    bare = shutil.ignore_patterns("engines")
    kept, anew = (
        Run.open(Path(shutil.copytree(run, tmp_path / name / "run", ignore=bare)))
        for name in ("one", "two")
    )
    encoder, labels = kept.model()

    def graphs(run: Run, *tau: float) -> Path:
        exit = method("exit", "confidence", layers=[1, 2], tau=[*tau])
        return run_graphs.kept_export(run, encoder.replacing(exit=exit), labels, "fp32")

    first, moved, wanted = graphs(kept, 0.9, 0.8), graphs(kept, 0.7, 0.95), graphs(anew, 0.7, 0.95)
    assert first.name.rpartition("-")[0] == moved.name.rpartition("-")[0]
    assert moved.name == wanted.name
    for path in wanted.iterdir():
        assert (moved / path.name).read_bytes() == path.read_bytes()
    copy_sharing(moved, tmp_path / "onnx-fp32", [])
    for folder in (first, moved, tmp_path / "onnx-fp32"):
        for engine in ENGINES:
            [answer] = GraphModel(folder, 1, engine).answer(TEXTS[:1])
            assert answer["label"] in labels
    assert (first / "single.onnx").read_bytes() != (moved / "single.onnx").read_bytes()


def test_only_points_that_are_weights_share_graphs():
    def shared(kind: str, **arguments: Any) -> str:
        exit = Specification("exit", kind, {"layers": [1, 2, 3], **arguments})
        return run_graphs.at_any_point({"exit": exit})

    assert shared("confidence", tau=0.9) == shared("confidence", tau=[0.9, 0.8, 0.7])
    outside = "helpers.methods.Outside"  # what it does with its point is not known
    assert shared(outside, tau=0.9) != shared(outside, tau=0.8)
    assert shared("patience", patience=1) != shared("patience", patience=2)


@pytest.mark.nightly
def test_other_exits_are_other_graphs(run: Path):
    exit = {"tau": 0.999, "layers": None, "patience": None}
    backend = opened(run, "onnx", exit=exit)
    assert_same(backend.answer(TEXTS), opened(run, "torch", exit=exit).answer(TEXTS), 1e-4)
    assert backend.folder != opened(run, "onnx").folder


@pytest.mark.nightly
@pytest.mark.parametrize("policies", [(), (Veto(0.9),)], ids=["alone", "veto"])
def test_a_closed_exit_is_no_graphs_end(run: Path, policies: tuple[Any, ...]):
    """But where a policy looks at what it guesses."""
    given: Any = {"exit": {"tau": [1.0, 0.7]}, "policies": policies, "threads": 1}
    theirs = GraphModel.open(run, engine="onnx", **given)
    assert theirs.layers == ([1, 2] if policies else [2])
    fit = TEXTS[:4]  # longer ones are refused
    assert_same(theirs.answer(fit), Model.open(run, **given).answer(fit), 1e-4)


FOUND = {
    "torch": {"1": 3.0, "32": 1.0},
    "onnx": {"1": 2.0, "32": 1.5},
    "openvino": {"1": 1.0, "32": 2.0},
}


def fastest(run: Path, times: list[Any], **asked: Any) -> Any:
    """The model in the engine that is fastest by times that are made up; each race takes some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "race", lambda *_: times.pop(0))
        return opened(run, "auto", **asked)


def test_auto_races_once_and_says_what_it_chose(run: Path, capsys: Any):
    """One verdict at batch 1, another in batches, from one race; another machine races again."""
    (run / trials.FILE).unlink(missing_ok=True)
    times = [FOUND, FOUND]
    assert fastest(run, times, batch=1).engine == "openvino"
    assert times == [FOUND]
    assert (
        "backend=auto: openvino (ms per example, batch size 1: openvino 1.00"
        in capsys.readouterr().err
    )
    batches = fastest(run, times, mode="triage", batch=32)
    assert not hasattr(batches, "engine")  # torch
    kept = json.loads((run / trials.FILE).read_text())
    elsewhere = [entry | {"machine": {"processor": "another"}} for entry in kept]
    (run / trials.FILE).write_text(json.dumps(elsewhere))
    fastest(run, times, batch=1)
    assert not times
    assert len(json.loads((run / trials.FILE).read_text())) == len(elsewhere) + 3


def test_auto_on_an_export_races_its_two_engines(run: Path):
    export = opened(run, "onnx").folder
    times = [{name: FOUND[name] for name in ("onnx", "openvino")}]
    assert fastest(export, times, batch=1).engine == "openvino"
    assert (export / trials.FILE).is_file()


def test_who_is_not_there_or_cannot_is_named_in_a_line(
    run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    (run / trials.FILE).unlink(missing_ok=True)
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    times = [{name: FOUND[name] for name in ("torch", "onnx")}]
    assert fastest(run, times, batch=1).engine == "onnx"
    (line, _) = capsys.readouterr().err.splitlines()
    needs = "backend=openvino needs openvino: pip install openvino"
    assert line == f"backend=auto: openvino is left out: {needs}"
    with pytest.raises(ConfigError, match=needs):
        opened(run, "openvino")


def test_a_race_beside_a_training_is_not_kept(run: Path, capsys: Any):
    (run / trials.FILE).unlink(missing_ok=True)
    with training_mark():
        fastest(run, [FOUND], batch=1)
    said = f"beside a training (process {os.getpid()}), so it is not kept"
    assert said in capsys.readouterr().err
    assert not any(entry.ms for entry in trials.read(run))


def test_answers_that_differ_are_refused(run: Path, tmp_path: Path):
    """Of graphs that came to have other weights; that is known until it is tried anew."""
    run = Path(shutil.copytree(run, tmp_path / "run"))
    (weights,) = run.glob("engines/*/weights.bin")
    sound = np.fromfile(weights, np.float32)
    (-sound).tofile(weights)
    (run / trials.FILE).unlink(missing_ok=True)
    for _ in range(2):
        with pytest.raises(ConfigError, match="backend=openvino answers otherwise than the run"):
            opened(run, "openvino")
        sound.tofile(weights)
    (run / trials.FILE).unlink()
    opened(run, "openvino")


def test_what_cannot_be_exported_is_refused_in_a_line(tmp_path: Path):
    run = make_run(tmp_path / "merges", "dense", "tome", "confidence")
    with pytest.raises(ConfigError) as error:
        opened(run, "openvino")
    assert "\n" not in str(error.value)
    assert not any((run / "engines").glob("*"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"backend": "onnx", "dtype": "bf16"}, "dtype=bf16: onnxruntime has no such products"),
        ({"backend": "onnx", "prepack": True}, "prepack=true is for backend=torch, got onnx"),
        ({"backend": "openvino", "dtype": "fp32", "prepack": True}, "prepack=true is for backend"),
        (
            {"backend": "onnx", "exit": {"budget": "12ms"}},
            "budget=12ms: the dial.s times are PyTorch.s, not those of onnx",
        ),
        ({"backend": "auto", "certificate": "x"}, "a certificate holds for one engine"),
        ({"backend": "tensorflow"}, "backend must be one of torch, onnx, openvino, auto"),
    ],
)
def test_what_does_not_go_together(run: Path, asked: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        plan(run=str(run), **asked)


def test_a_file_of_someone_elses_is_not_believed(tmp_path: Path):
    for content in ("[", "{}", '[{"engine": "onnx"}]', "[1]", "[" * 100_000):
        (tmp_path / trials.FILE).write_text(content)
        assert trials.read(tmp_path) == []
    mine = EngineTrial("onnx", this_machine(1), "a", ms={"1": 2.0})
    assert trials.keep(tmp_path, [mine])
    assert trials.keep(tmp_path, [EngineTrial("onnx", this_machine(1), "a", "it fails")])
    assert [entry.fault for entry in trials.read(tmp_path)] == ["it fails"]


@pytest.mark.nightly
def test_the_copy_beside_an_export_runs_in_openvino(run: Path):
    """Without torch and without this package."""
    export = opened(run, "onnx").folder
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'eat_lightning', 'onnx')));"
    code += "import runpy; sys.argv=['x', '--engine', 'openvino', '--threads', '1'];"
    code += f"runpy.run_path({str(export / 'runner.py')!r}, run_name='__main__')"
    lines = "".join(f"{text}\n" for (text,) in TEXTS[:5])
    done = subprocess.run(
        [sys.executable, "-c", code], input=lines, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert_same(found, opened(run, "torch").answer(TEXTS[:5]), 1e-4)


@pytest.mark.nightly
def test_openvino_computes_fp32_graphs_in_bf16(run: Path, monkeypatch: pytest.MonkeyPatch):
    """So narrow an encoder strays further in bf16 than one that is worth a race."""
    import openvino

    monkeypatch.setattr("eat_lightning.bundle.race.AGREE", 0.75)

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO has no bf16 products on this processor")
    found = [a["confidence"] for a in opened(run, "openvino", dtype="bf16").answer(TEXTS)]
    fp32 = [a["confidence"] for a in opened(run, "torch").answer(TEXTS)]
    assert 0 < np.abs(np.subtract(found, fp32)).mean() < 0.1
