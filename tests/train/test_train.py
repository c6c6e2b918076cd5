"""The training line on toy data with a tiny encoder: what a run is made of, and that it is resumed,
skipped or refused as it should be."""

import csv
import json
import os
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.commands import finished
from helpers.training import TINY, command, config_of, trained
from safetensors.torch import load_file

from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.record.dial import conditions
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.runs.identity import combination
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.__main__ import train
from eat_lightning.train.fit import begin, data_of
from eat_lightning.train.plan import planned
from eat_lightning.validation import Misshaped
from eat_lightning.weights.checkpoint import load_model


def test_a_run_folder_holds_what_it_promises(run: Run):
    names = {p.name for p in run.folder.iterdir()}
    wanted = {
        "config.yaml",
        "versions.json",
        "rows.jsonl",
        "examples.parquet",
        "model",
        "done.json",
    }
    assert wanted <= names
    inside = {p.name for p in (run.folder / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= inside
    assert not list(run.folder.rglob("*.part"))
    versions = json.loads((run.folder / "versions.json").read_text())
    assert versions["packages"]["torch"] == torch.__version__


def test_examples_tell_each_exits_logits_and_the_way_taken(run: Run):
    table = pq.read_table(run.folder / "examples.parquet").to_pydict()
    assert len(table["label"]) == 60
    assert {"logits_3", "logits_4", "logits_6", "length", "difficulty"} <= {*table}
    row = read(run.folder / "rows.jsonl")[0]
    outcome = Record.read(run.folder / "examples.parquet").replay(Confidence(0.9, [3, 4]))
    assert row.depth == pytest.approx(np.mean(outcome.depth_B))
    assert row.retention < 1
    fewer = [name for name in table if name.startswith("tokens_")]
    assert fewer, "layer 1 is entered by all tokens, a later one by fewer"
    assert "tokens_1" not in fewer


def test_strength_and_temperatures_are_saved_with_the_weights(run: Run):
    encoder, labels = run.model()
    assert labels == ["negative", "positive"]
    assert encoder.strength == 1.0
    for layer, found in run.done["calibration"].items():
        assert float(encoder.heads[layer].temperature) == pytest.approx(found["temperature"])


def test_a_run_says_how_it_was_trained(run: Run):
    training = run.training
    counted = {"lr": 1e-3, "steps": 9, "num_train_examples": 160, "teacher": None}
    assert {key: training[key] for key in counted} == counted
    assert training["objective"].kind == "joint"
    assert training["objective"].arguments["early_weight"] == 0.3
    assert training["schedule"].kind == "anneal"
    assert 0 < training["train_seconds"] < 600
    assert training["train_threads"] == torch.get_num_threads()
    (row,) = [r for r in read(run.folder / "rows.jsonl") if not r.baseline]
    assert row.train_seconds == training["train_seconds"]


def test_a_finished_run_is_skipped_and_says_so(run: Run, capsys: pytest.CaptureFixture[str]):
    before = (run.folder / "model" / "model.safetensors").stat().st_mtime_ns
    again = trained("study=line", "model=eat_pruned")
    assert "is already trained (delete it to train it again)" in capsys.readouterr().out
    assert (again.folder / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_other_settings_is_refused_by_name(run: Run):
    config = config_of(*TINY, "study=line", "model=eat_pruned")
    config["optimizer"]["weight_decay"] = 0.5
    with pytest.raises(ConfigError, match=r"other settings \(optimizer\.weight_decay\)"):
        train(config, [*TINY, "study=line", "model=eat_pruned"])


def test_where_and_how_fast_a_run_goes_is_not_its_identity(run: Run):
    config = config_of(*TINY, "study=line", "model=eat_pruned", "threads=2", "checkpoint_every=7")
    assert (
        train(config, [*TINY, "study=line", "model=eat_pruned", "threads=2"])
        == (run.done["selection_score"])
    )


def test_a_partial_run_is_not_a_run(run: Run, tmp_path: Path):
    (tmp_path / "config.yaml").write_text((run.folder / "config.yaml").read_text())
    with pytest.raises(ConfigError, match="is not finished"):
        Run.open(tmp_path)
    with pytest.raises(ConfigError, match="is not a run folder"):
        Run.open(tmp_path / "nowhere")


SHARED_ANSWERS = ["objective=sandwich", "reduction=norm_topk"]


@pytest.mark.parametrize(
    "given",
    [
        ["task=mnli", "model=eat_paper"],
        ["task=stsb", "exit=never"],
        pytest.param(["task=cola", "head=attention", *SHARED_ANSWERS], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_other_tasks_models_and_heads_train_and_are_measured(given: list[str]):
    found = trained("study=others", "trainer.max_steps=3", *given)
    row = read(found.folder / "rows.jsonl")[0]
    assert getattr(row, row.metric) == found.done["score"]
    assert row.model == found.config["model"]
    assert (row.retention < 1) == (row.reduction.kind != "none")
    asked = [word.removeprefix("head=") for word in given if word.startswith("head=")]
    assert not asked or asked == [found.model()[0].head["kind"]]


def test_a_run_cut_within_an_epoch_is_validated_where_it_ends():
    """And its texts are cut to what the encoder can hold."""
    given = ["schedule=constant", "trainer.max_steps=7", "encoder.max_positions=8"]
    found = trained("study=cut", *given)
    assert found.done["steps"] == 7
    assert found.done["selection_score"] is not None
    with (found.folder / "csv" / "metrics.csv").open() as file:
        steps = [int(r["step"]) for r in csv.DictReader(file) if r["select/score"]]
    assert steps[-1] == 6
    assert found.data().split("validation").lengths.max() == 8


def test_a_partial_run_with_other_data_is_not_gone_on_with(run: Run, tmp_path: Path):
    (tmp_path / "last.ckpt").touch()
    partial = Run(tmp_path, run.config, done={})
    begin(partial, {"train": "a", "precision": "32-true"})
    begin(partial, {"train": "a", "precision": "32-true"})
    with pytest.raises(ConfigError, match=r"started with other inputs \(train\)"):
        begin(partial, {"train": "b", "precision": "32-true"})


MINE = """
from pathlib import Path

from lightning import Callback

from eat_lightning.model.contracts import Reduction

class Note(Callback):
    def __init__(self, to):
        self.to = to

    def on_train_end(self, trainer, module):
        Path(self.to).write_text(type(trainer.optimizers[0]).__name__)

class EveryOther(Reduction):
    def __init__(self, layers=(2,)):
        self.layers = list(layers)

    def __call__(self, packed, evidence, layer):
        import torch
        keep_N = packed.layout.index_N % 2 == 0
        lengths_B = (packed.layout.lengths_B + 1) // 2
        return packed.take(torch.nonzero(keep_N).flatten(), lengths_B)
"""


def test_a_class_of_ones_own_trains_and_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(*TINY, "study=mine")
    config["reduction"] = {"_target_": "mine.EveryOther", "layers": [2]}
    config["callbacks"] = {"note": {"_target_": "mine.Note", "to": str(tmp_path / "note")}}
    config["optimizer"] = config_of(*TINY, "optimizer=sgd")["optimizer"]
    train(config, [*TINY, "study=mine"])
    assert (tmp_path / "note").read_text() == "SGD"
    del sys.modules["mine"]
    folder = folder_for(config, [*TINY, "study=mine"])
    with pytest.raises(ConfigError, match="import mine before loading"):
        load_model(folder / "model")
    with pytest.raises(ConfigError, match="a run's config alone does not import it"):
        Run.open(folder)
    monkeypatch.setenv("EAT_IMPORT", "mine")
    run = Run.open(folder)
    capsys.readouterr()
    assert run.model()[0].reduction.layers == [2]
    row = read(run.folder / "rows.jsonl")[0]
    assert 0.5 <= row.retention < 0.6
    assert row.sources == {"mine": sha256(MINE.encode()).hexdigest()[:12]}
    before = conditions(run.folder / "model", run.model()[0])
    assert capsys.readouterr().err == ""
    (tmp_path / "mine.py").write_text(f"{MINE}# edited\n")
    encoder, _ = run.model()
    assert capsys.readouterr().err == f"warning: mine was edited since {run.name} was trained\n"
    now = conditions(run.folder / "model", encoder)
    assert {key for key in now if now[key] != before[key]} == {"sources"}  # another dial is fitted
    point = Point(methods=specs_by_slot(encoder))
    assert combination(run, point, "cpu")["sources"] == now["sources"]


HALVES = """
from eat_lightning.model.contracts import ExitRule

class Halves(ExitRule):
    def __init__(self, layers=(2,)):
        self.layers = list(layers)

    def decides(self, logits_EBC, signals_EBS=None):
        return logits_EBC[-1, :, 0] * 0.5
"""


def test_a_faulty_rule_of_ones_own_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "halves.py").write_text(HALVES)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(*TINY, "study=halves")
    config["exit"] = {"_target_": "halves.Halves", "layers": [2]}
    with pytest.raises(Misshaped, match=r"^Halves.decides must give whole numbers, got float32"):
        train(config, [*TINY, "study=halves"])
    assert not list(Path(os.environ["EAT_OUTPUTS"]).glob("halves/*/csv"))


def write_glue(folder: Path, flip_dev: bool) -> None:
    """Toy examples as the parquet files of sst2."""
    data = data_of(planned(config_of(*TINY, "data.num_train=400")))
    (folder / "sst2").mkdir(parents=True)
    for name in ("train", "validation"):
        source = data.split(name).source
        labels = 1 - source.labels if flip_dev and name == "validation" else source.labels
        table = pa.table({"sentence": source.texts[0], "label": labels, "idx": range(len(labels))})
        pq.write_table(table, folder / "sst2" / f"{name}.parquet")


def test_dev_labels_decide_nothing(tmp_path: Path):
    """Poisoned dev labels leave weights, temperatures and selection bit-equal."""
    glue = [x for x in TINY if not x.startswith("data")]
    found = []
    for name, flip in (("clean", False), ("poisoned", True)):
        write_glue(tmp_path / name, flip)
        given = [*glue, "encoder=tiny", f"data.dir={tmp_path / name}", f"study={name}"]
        config = config_of(*given)
        train(config, given)
        found.append(Run.open(folder_for(config, given)))
    clean, poisoned = (load_file(r.folder / "model" / "model.safetensors") for r in found)
    assert all(torch.equal(clean[k], poisoned[k]) for k in clean)
    assert found[0].done["calibration"] == found[1].done["calibration"]
    assert found[0].done["score"] == pytest.approx(1 - found[1].done["score"])


@pytest.mark.slow
def test_a_killed_run_resumes_to_equal_weights(outputs: Path):
    """By SIGKILL, behind its second and third checkpoint, then behind its last step."""
    long = [x for x in TINY if "max_steps" not in x and "num_train" not in x]
    long += ["data.num_train=320", "trainer.max_steps=-1", "checkpoint_every=3"]
    config = config_of(*long, "study=whole")
    train(config, [*long, "study=whole"])
    whole = Run.open(folder_for(config, [*long, "study=whole"]))
    given = [*long, "study=killed"]
    folder = folder_for(config_of(*given), given)
    for checkpoints in (2, 3):
        with command(*given) as process:
            seen, stamp, deadline = 0, last_stamp(folder), time.monotonic() + 300
            while process.poll() is None and seen < checkpoints and time.monotonic() < deadline:
                seen += last_stamp(folder) != stamp
                stamp = last_stamp(folder)
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert not (folder / "done.json").exists()
    finished("eat_lightning.train", *given)
    for name in ("done.json", "rows.jsonl", "examples.parquet"):
        (folder / name).unlink()
    finished("eat_lightning.train", *given)
    whole_weights, resumed = (
        load_file(f / "model" / "model.safetensors") for f in (whole.folder, folder)
    )
    assert all(torch.equal(whole_weights[k], resumed[k]) for k in whole_weights)
    load_model(folder / "model")
    assert Run.open(folder).training["train_seconds"] is None  # a part of it was done before


def last_stamp(folder: Path) -> int:
    last = folder / "last.ckpt"
    return last.stat().st_mtime_ns if last.exists() else 0
