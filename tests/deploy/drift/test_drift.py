"""From a run to its reference and a watched stream; a reference of another run is refused."""

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import finished
from helpers.certificates import make_run
from helpers.commands import Command
from helpers.scores import scored
from safetensors.torch import load_file, save_file

from eat_lightning.bundle.bundle import DRIFT
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.drift.command import drift
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import Join, LongTexts
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.monitor.decisions import DecisionLog
from eat_lightning.monitor.observation import Observation, observations
from eat_lightning.monitor.reference import Reference
from eat_lightning.record.passes import record
from eat_lightning.runs.run import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "run")
    drift(config_of(folder))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def config_of(run: Path, *overrides: str) -> dict:
    return finished.config_of("drift", f"run='{run}'", *overrides)


def said(capsys: pytest.CaptureFixture) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(run: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        drift(config_of(run, *overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


def stream_of(run: Path, texts: list[str]) -> str:
    path = run / "stream.parquet"
    pq.write_table(pa.table({"text": texts}), path)
    return f"stream='{path}'"


def usual(run: Path, num: int) -> list[str]:
    """Texts of the calibration part's distribution, none of them in it."""
    return Run.open(run).data(num_validation=num).source("validation").texts[0]


def seen_by(backend, texts: list[list[str]], deep: bool) -> tuple[list[Observation], list[dict]]:
    """Observations and answers in the order of the texts."""
    seen, answers = {}, {}
    for trace in backend.stream(texts, deep=deep):
        seen |= dict(zip(trace.rows_B.tolist(), observations(trace), strict=True))
        answers |= backend.printed(trace)
    return [seen[i] for i in range(len(texts))], [answers[i] for i in range(len(texts))]


def assert_alike(one: list[Observation], other: list[Observation]) -> None:
    """Equal but for the last bits of a confidence, which the company in a batch decides."""
    for a, b in zip(one, other, strict=True):
        assert a.confidence == pytest.approx(b.confidence, abs=1e-5)
        assert replace(a, confidence=0) == replace(b, confidence=0)


def test_the_reference_is_the_certificate_part(made: Path):
    opened = Run.open(made)
    encoder, _ = opened.model()
    split = opened.data().split("certificate")
    kept = Reference.read(opened.folder / DRIFT)
    assert_alike(kept.seen, observations(record(encoder, split).replay()))
    assert len(kept.seen) == 300
    assert {each.depth for each in kept.seen} > {3}
    content = (made / "drift.json").read_text()
    assert split.text(0)[0] not in content


WINDOWS = {"size": 9, "overlap": 3, "label": "negative"}


@pytest.mark.parametrize("join", [None, "any", "max"])
def test_both_states_observe_the_same(made: Path, join: Join | None):
    """At full depth the heads tell what the exits would have done, bit for bit but for the company
    in a batch; the answer is the last layer's. Of a text in windows too."""
    opened = Run.open(made)
    split, backend = opened.data().split("validation"), TorchModel.open(opened.folder)
    if join is not None:
        backend.read_long(LongTexts("windows", join=join, **WINDOWS))  # type: ignore[arg-type]
    texts = [list(split.text(i)) for i in range(40)]
    early, _ = seen_by(backend, texts, deep=False)
    exits, answers = seen_by(backend, texts, deep=True)
    assert len({each.depth for each in early}) > 1
    assert len({answer["windows"] for answer in answers}) > (join is not None)
    assert_alike(early, exits)
    assert {answer["depth"] for answer in answers} == {6}


def test_a_reference_is_of_one_reading(run: Path, capsys: pytest.CaptureFixture):
    windows = "long=windows", *(f"windows.{key}={value}" for key, value in WINDOWS.items())
    stream = stream_of(run, usual(run, 30)), "columns=[text]"
    assert refused(run, *stream, *windows).startswith("drift.json holds for another windows (None")
    drift(config_of(run, *windows))
    capsys.readouterr()
    drift(config_of(run, *stream, *windows))
    assert said(capsys)[-1]["seen"] == 30
    message = "drift.json holds for another windows (of 9 tokens, 3 shared, any of negative there"
    assert refused(run, *stream).startswith(message)


def test_a_reference_of_other_weights_is_refused(run: Path):
    path = run / "model/model.safetensors"
    weights = load_file(path)
    name = next(key for key in weights if weights[key].ndim == 2)
    save_file(weights | {name: weights[name] + 1e-3}, path)
    message = refused(run, stream_of(run, ["a"]))
    assert message.startswith("drift.json holds for another weights (")
    assert message.endswith(f"make it again with eat drift run={run}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no drift.json: make it"),
        ("{", "not a drift reference (Expecting"),
        ('{"seen": {}, "holds_for": {}}', "not a drift reference ('confidence')"),
    ],
)
def test_a_missing_or_damaged_reference_is_named(run: Path, content: str | None, reason: str):
    (run / "drift.json").unlink()
    if content is not None:
        (run / "drift.json").write_text(content)
    assert reason in refused(run, stream_of(run, ["a"]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stream=nowhere"], "stream=nowhere: there is neither nowhere nor"),
        (["monitor.run_length=1"], "monitor.run_length must be 10 or more, got 1"),
        (["log_text=maybe"], "log_text must be true or false, got 'maybe'"),
        (["stream=nowhere", "columns=[a,b]"], "columns must name 1, got ['a', 'b']"),
    ],
)
def test_a_fault_is_named_in_one_line(run: Path, overrides: list[str], message: str):
    assert refused(run, *overrides).startswith(message)


def test_a_regression_is_refused(tmp_path: Path):
    folder = make_run(tmp_path / "run", task="stsb", exit="never")
    assert refused(folder) == "drift compares classes, and this task is a regression"


def test_a_shifted_stream_is_found(run: Path, capsys: pytest.CaptureFixture, tmp_path: Path):
    log = tmp_path / "decisions.jsonl"
    shifted = [f"{text} {text} {text}" for text in usual(run, 150)]
    stream = stream_of(run, usual(run, 100) + shifted)
    assert drift(config_of(run, stream, "columns=[text]", "batch=10", f"log={log}")) == 0
    alarm, end = said(capsys)
    assert (alarm["event"], alarm["feature"]) == ("alarm", "tokens")
    assert 100 < alarm["at"] < 200
    assert (end["event"], end["state"], end["seen"]) == ("end", "full_depth", 250)
    decisions = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(decisions) == 250
    full = [each["full_depth"] for each in decisions]
    switch = -(-alarm["at"] // 10) * 10  # the batch's end
    assert full == [False] * switch + [True] * (250 - switch)
    assert {each["depth"] for each in decisions[switch:]} == {6}
    assert {each["exits"]["depth"] for each in decisions[switch:]} > {3}
    assert all("texts" not in each for each in decisions)
    assert not any(text in log.read_text() for text in shifted)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_mends_a_torn_line(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text('{"a": 1}\n{"b"')
    for number in (1, 2):
        log = DecisionLog(path)
        log.add([{"c": number}])
        log.close()
    lines = path.read_text().splitlines()
    assert lines[:2] == ['{"a": 1}', '{"b"']
    assert [json.loads(line)["c"] for line in lines[2:]] == [1, 2]


def test_a_log_takes_back_what_a_full_disk_cut_off(tmp_path: Path, monkeypatch):
    log = DecisionLog(tmp_path / "log")
    log.add([{"c": 1}])
    whole = log.path.read_bytes()
    write = os.write

    def full(file: int, content: bytes) -> int:
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return write(file, content[:-10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        log.add([{"c": 2}])
    assert log.path.read_bytes() == whole


def test_another_dtype_has_its_own_reference(run: Path, capsys: pytest.CaptureFixture):
    """Made by the same model that is watched, so a calm stream of it is calm."""
    dtype = "int8"
    assert "drift.json holds for another dtype (fp32 there" in refused(
        run, stream_of(run, ["a"]), f"dtype={dtype}"
    )
    drift(config_of(run, f"dtype={dtype}"))
    opened = Run.open(run)
    answerer = TorchModel.open(opened.folder, dtype=dtype)
    split = opened.data().split("certificate")
    seen = observations(record(answerer.encoder, split).replay())
    assert_alike(Reference.read(opened.folder / DRIFT).seen, seen)
    assert (
        drift(config_of(run, stream_of(run, usual(run, 50)), "columns=[text]", f"dtype={dtype}"))
        == 0
    )
    assert said(capsys)[-1]["state"] == "early_exits"


VETO = ("policy=veto", "policy.veto.margin=0.9")


def test_what_is_normal_under_policies(run: Path):
    """Another than without; both states observe the same; neither takes the other's reference."""
    message = refused(run, stream_of(run, ["a"]), *VETO)
    assert message.startswith("drift.json holds for another policy (none there, veto margin 0.9")
    before = Reference.read(run / DRIFT)
    drift(config_of(run, *VETO))
    opened = Run.open(run)
    under = Reference.read(opened.folder / DRIFT)
    assert sum(s.depth for s in under.seen) > sum(s.depth for s in before.seen)
    assert refused(run, stream_of(run, ["a"])).startswith("drift.json holds for another policy")
    answerer = TorchModel.open(opened.folder, policies=(Veto(0.9),))
    texts = [[text] for text in usual(run, 30)]
    assert_alike(*(seen_by(answerer, texts, deep)[0] for deep in (False, True)))


def test_a_policy_that_asks_what_the_calibration_part_does_not_tell(run: Path):
    message = refused(run, "policy=full_depth", "policy.full_depth.mimes=[image/*]")
    assert message == (
        "policy=full_depth needs mime, which the calibration part does not have, so no reference "
        "can be made"
    )
    assert "needs source" in refused(run, "policy=per_source", "policy.per_source.taus={a:0.9}")


@pytest.mark.slow
def test_the_command_reads_standard_input(made: Path):
    with Command("eat_lightning.drift", f"run={made}", "stream=-") as child:
        child.stdin.write("a fine film\n{}\n")
        out, err = child.communicate()
    bad, end = map(json.loads, out.splitlines())
    assert child.returncode == 1, err
    assert bad["line"] == 2
    assert (end["event"], end["seen"]) == ("end", 1)


@pytest.mark.parametrize("pool", [True, False])
def test_score_tells_of_a_shift_and_writes_the_same(
    made: Path, tmp_path: Path, pool: bool, capsys: pytest.CaptureFixture[str]
):
    texts = {"usual": usual(made, 64), "shifted": ["film " * 30] * 64}
    monitor = {"monitor": True, "run_length": 10_000.0, "window": 50, "calm": 200, "psi": 0.1}
    for name, given in texts.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(given) + "\n")
        places = tmp_path / f"{name}.txt", tmp_path / name, made
        rows = scored(*places, pool=pool, workers=2, drift=monitor)
        told = capsys.readouterr()
        assert ("drift: drifted after 64" in told.out) == (name == "shifted")
        assert ("drift: alarm after" in told.err) == (name == "shifted")
        assert rows == scored(places[0], tmp_path / f"{name}-off", made, pool=pool)
