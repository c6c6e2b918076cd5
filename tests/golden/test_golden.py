"""Rows, certificates, dials and answers of runs are those of the golden files, but for rounding.

A change that is meant to alter an answer makes the files in `answers/` anew, with
`python -m tests.golden.make`.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from golden import inputs, reading, small_models
from golden.asking import UNTIMED, command, predicted
from golden.comparing import Golden
from helpers.classifiers import drawn_texts
from helpers.training import TINY

RUN = Golden("run")
WINDOWS = ("long=windows", "windows.label=positive", "windows.overlap=8")
CERTIFICATES = {
    "gap": ("risk=accuracy_gap", "level=0.05"),
    "harm": ("risk=harm", "level=0.04", "exits=each"),
    "ratios": ("risk=harm", "level=0.04", "ratios=[0.1,0.3]", "confidence=0.9"),
    "misses": ("risk=false_negatives", "class=positive", "level=0.22"),
    "budget": ("risk=disagreement", "level=0.15", "exit.budget=0.5"),
    "veto": ("risk=harm", "level=0.05", "policy=veto"),
    "windows": ("risk=disagreement", "level=0.04", *WINDOWS, "windows.size=16"),
    "too-strict": ("risk=disagreement", "level=0.001"),
}
ONE = ("exit.tau=0.9", "baselines=none")  # in place of a grid
ROWS = {
    "grid": ("rules=[{kind:patience},{kind:entropy}]", "baselines=all"),
    "budgets": ("budgets=[0.3,0.5,0.8]", "agree=[0.99,0.95,0.9]", *ONE),
    "budgets at one ratio": ("budgets=[0.5]", "fit_reduction=false", *ONE),
    "layer 0": ("exit.layers=[0,1,2,3]", "taus=[0.6,0.8]", "baselines=fixed"),
    "policies": ("policy=[min_retention,veto]", "policy.min_retention.share=0.9", "taus=[0.6]"),
    "windows": (*WINDOWS, "windows.size=16", "taus=[0.6,0.8]"),
    "other slots": ("reduction=cls_topk", "reduction.ratio=0.5", "reduction.layers=[1,3]", *ONE),
    "attention": ("attention=longformer", "attention.window=4", "taus=[0.7]"),
    "certificate": ("certificate=harm", "baselines=none"),
}
ANSWERS = {
    "own": (),
    "never": ("exit=never",),
    "taus": ("exit.tau=[0.8,0.7,0.6]",),
    "layer 0": ("exit.layers=[0,1,2,3]", "exit.tau=0.7"),
    "patience": ("exit=patience",),
    "entropy": ("exit=entropy", "exit.entropy=0.45"),
    "budget 0.3": ("exit.budget=0.3",),
    "budget 0.6": ("exit.budget=0.6",),
    "agree 0.95": ("exit.agree=0.95",),
    "one ratio": ("exit.budget=0.5", "exit.fit_reduction=false"),
    "certificate": ("certificate=harm",),
    "certificate of a dial": ("certificate=budget",),
    "full depth as certified": ("certificate=too-strict",),
    "veto": ("policy=veto", "policy.veto.margin=0.6", "exit.tau=0.6"),
    "veto as certified": ("certificate=veto",),
    "min_retention": ("policy=min_retention", "policy.min_retention.sources=[mail]"),
    "full_depth": ("policy=full_depth", "policy.full_depth.mimes=[text/*]"),
    "per_source": ("policy=per_source", "policy.per_source.taus={mail:0.95}", "exit.tau=0.5"),
    "two policies": ("policy=[min_retention,veto]", "policy.min_retention.share=0.9"),
    "cut": ("long=cut",),
    "windows any": WINDOWS,
    "windows max": (*WINDOWS, "windows.join=max", "exit.tau=0.7"),
    "windows mean": ("long=windows", "windows.join=mean", "windows.size=16"),
    "windows as certified": (*WINDOWS, "windows.size=16", "certificate=windows"),
}
LETTERS = {  # of real texts
    "refused": (),
    "cut": ("long=cut",),
    "budget": ("long=cut", "exit.budget=0.5"),
    "certificate": ("long=cut", "certificate=harm"),
    "veto": ("long=cut", "policy=veto", "policy.veto.margin=0.5"),
    "any": WINDOWS,
    "max": (*WINDOWS, "windows.join=max", "exit.agree=0.9"),
    "mean": ("long=windows", "windows.join=mean", "exit.layers=[1,2]", "exit.tau=0.7"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run with its certificates and, made for one of them, its dial."""
    folder = small_models.trained_run().make(tmp_path_factory.mktemp("golden"))
    for name, words in CERTIFICATES.items():
        command("certify", f"run={folder}", f"name={name}", *words)
    return folder


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates(name: str, run: Path):
    path = run / "certificates" / f"{name}.json"
    RUN.check(f"certificate, {name}", reading.certificate(path))


def test_the_dial(run: Path):
    RUN.check("dial", reading.dial(run))


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, run: Path, tmp_path: Path):
    copy = shutil.copytree(run, tmp_path / "run")
    command("measure", f"run={copy}", *UNTIMED, *ROWS[name])
    RUN.check(f"rows, {name}", reading.rows(copy))
    if name == "grid":
        RUN.check("identity", reading.identity(copy, *reading.CALIBRATION))


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str, run: Path):
    RUN.check(f"answers, {name}", predicted(run, inputs.lines(), *ANSWERS[name]))


@pytest.mark.parametrize("batch", [1, 7])
def test_answers_do_not_depend_on_the_batch(batch: int, run: Path):
    RUN.check("answers, own", predicted(run, inputs.lines(), f"batch={batch}"))


def test_what_a_training_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Weights differ between processors, and what was trained does not."""
    monkeypatch.setenv("EAT_OUTPUTS", str(tmp_path))
    words = "model=eat", "exit.layers=[3,4]", "reduction=norm_topk", "schedule=hold", "seed=3"
    command("train", *TINY, *words, "study=noted")
    (run,) = (tmp_path / "noted").iterdir()
    RUN.check("identity, trained", reading.identity(run))


def test_a_corpus(run: Path, tmp_path: Path):
    texts = drawn_texts(50, seed=14)
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps({'text': x})}\n" for x in texts))
    given = f"input={tmp_path / 'in.jsonl'}", f"output={tmp_path / 'out'}", "shard_rows=16"
    command("score", f"run={run}", *given, "exit.budget=0.35", "workers=1")
    RUN.check("corpus", reading.scored(tmp_path / "out"))


def test_the_hugging_face_class(run: Path):
    from transformers import AutoTokenizer

    from eat_lightning.bundle.hf import EatForSequenceClassification

    model = EatForSequenceClassification.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    read = tokenizer(drawn_texts(30, seed=15), padding=True, return_tensors="pt")
    with torch.inference_mode():
        RUN.check("Hugging Face, own", reading.output(model(**read)))
        model.set_budget(0.35)
        RUN.check("Hugging Face, budget", reading.output(model(**read)))
        model.set_agreement(0.99)
        RUN.check("Hugging Face, agreement", reading.output(model(**read)))


KINDS = {
    "pairs": (small_models.run_of_pairs, inputs.pairs),
    "labels": (small_models.run_of_labels, inputs.lines),
    "scores": (small_models.run_of_scores, inputs.pairs),
}
OF_KIND = {
    "own": (),
    "never": ("exit=never",),
    "budget": ("exit.budget=0.7",),
    "max": ("long=windows", "windows.join=max", "windows.size=16"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_other_kinds(kind: str, tmp_path: Path):
    """Pairs of texts, several labels, and a score."""
    golden, (model, lines) = Golden(f"run-of-{kind}"), KINDS[kind]
    run = model().make(tmp_path)
    for name, words in OF_KIND.items():
        named = ("windows.label=neutral",) if (kind, name) == ("pairs", "max") else ()
        golden.check(f"answers, {name}", predicted(run, lines(), *words, *named))
    golden.check("dial", reading.dial(run))
    command("certify", f"run={run}", "name=one", "risk=disagreement", "level=0.8")
    golden.check("certificate", reading.certificate(run / "certificates" / "one.json"))
    command("measure", f"run={run}", *UNTIMED, "budgets=[0.6]")
    golden.check("rows", reading.rows(run))


@pytest.fixture(scope="module")
def run_of_letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_models.run_of_letters().make(tmp_path_factory.mktemp("letters"))
    command("certify", f"run={folder}", "name=harm", "risk=harm", "level=0.2")
    return folder


@pytest.mark.data
@pytest.mark.parametrize("name", LETTERS)
def test_real_texts(name: str, run_of_letters: Path, data_dir: Path):
    found = predicted(run_of_letters, inputs.real(data_dir), *LETTERS[name])
    Golden("run-of-letters").check(f"real texts, {name}", found)


@pytest.mark.data
def test_real_texts_of_the_trained_run(run: Path, data_dir: Path):
    found = predicted(run, inputs.real(data_dir), "long=cut", "exit.tau=0.7")
    RUN.check("real texts", found)
