"""Heads of a frozen encoder from one pass: kept vectors, the search, and what a run is then."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import toy
from helpers.models import spread, tiny
from helpers.training import TINY, config_of, shared_run
from safetensors.torch import load_file

from eat_lightning.errors import ConfigError
from eat_lightning.methods.objective.gradient_equilibrium import GradientEquilibrium
from eat_lightning.methods.objective.hidden_distillation import HiddenDistillation
from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.methods.schedule.two_stage import TwoStage
from eat_lightning.model.contracts import Stage
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.record.passes import record
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.__main__ import train
from eat_lightning.train.fit import data_of
from eat_lightning.train.kept_vectors import VectorBatch, kept_vectors, vectors_of
from eat_lightning.train.one_pass import (
    Chosen,
    HeadTraining,
    VectorData,
    VectorHeads,
    blockers,
    reads_one_vector,
    searched,
    trains_early_heads_alone,
)
from eat_lightning.train.plan import planned

HEAD: dict[str, Any] = {"layers": [0, 2, 4], "last": {"kind": "pooled", "pool": "mean"}}
CHOSEN = Chosen(1e-3, 0.05, 2)


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAT_IMPORT", toy.__name__)


@pytest.fixture
def split(tmp_path: Path):
    return data_of(planned(config_of(*TINY, f"data.cache_dir={tmp_path}"))).split("train")


def encoder_for(split, **head: Any) -> AdaptiveEncoder:
    sizes = {"vocab_size": int(split.tokens.ids.max()) + 1, "max_positions": 80}
    encoder = tiny(num_labels=2, head=HEAD | head, **sizes)
    return spread(encoder).eval()


@pytest.mark.parametrize("head", [{"kind": "pair", "texts": 1}, {"kind": "pooled", "pool": "cls"}])
def test_kept_vectors_are_those_of_a_live_pass(head: dict[str, Any], split, tmp_path: Path):
    encoder = encoder_for(split, **head)
    kept = kept_vectors(encoder, split, tmp_path)
    assert kept.vectors_NEV.shape == (160, 3, 16)
    assert kept.vectors_NEV.dtype == np.float16
    rows = np.array([3, 50, 7])
    live = encoder(split.batch(rows), ALL_EXITS).guesses
    vectors_BEV, full_BC = vectors_of(encoder, split.batch(rows))
    assert torch.equal(full_BC, live[6])
    torch.testing.assert_close(torch.from_numpy(kept.full_NC[rows]), live[6], atol=1e-5, rtol=1e-5)
    given = kept[rows].vectors_BEV
    torch.testing.assert_close(given, vectors_BEV, atol=1e-3, rtol=1e-3)
    for place, layer in enumerate((0, 2, 4)):
        one = encoder.heads[str(layer)]
        found_BC = one.guess(one.of_features(one.features(vectors_BEV[:, place])))
        torch.testing.assert_close(found_BC, live[layer])


def test_vectors_are_made_once_and_anew_where_they_must(split, tmp_path: Path, capsys):
    def files() -> int:
        return len(list(tmp_path.glob("vectors-*.npy")))

    encoder = encoder_for(split, kind="pair", texts=1)
    kept_vectors(encoder, split, tmp_path)
    assert "vectors of train: 160 texts, 3 exits, 0.00 GB in" in capsys.readouterr().err
    encoder.heads["2"].classes.weight.data.add_(1)  # early heads are not read
    kept_vectors(encoder, split, tmp_path)
    assert (files(), capsys.readouterr().err) == (2, "")
    encoder.layers[5].up.bias.data.add_(1)
    kept_vectors(encoder, split, tmp_path)
    assert files() == 4
    for path in tmp_path.glob("vectors-*[0-9a-f].npy"):
        path.write_bytes(path.read_bytes()[:1000])  # cut off: mapped no further than it is long
    again = kept_vectors(encoder, split, tmp_path)
    expected, _ = vectors_of(encoder, split.batch(np.arange(160)))
    torch.testing.assert_close(
        torch.from_numpy(np.array(again.vectors_NEV)).float(), expected, atol=2e-3, rtol=2e-3
    )
    assert not list(tmp_path.glob("*.part"))


def test_a_vector_beyond_float16_is_refused(split, tmp_path: Path):
    encoder = encoder_for(split, kind="pooled")
    encoder.embedding.norm.bias.data.fill_(1e5)
    with pytest.raises(ConfigError, match="a vector exceeds float16"):
        kept_vectors(encoder, split, tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "pair", "texts": 2},
        {"kind": "pair", "texts": 1, "activation": None},
        {"kind": "pooled", "pool": "mean", "norm": True},
    ],
)
def test_standardisation_is_folded_into_the_weights(head: dict[str, Any], split):
    """After `fold` the encoder itself answers as the heads did on standardised features."""
    encoder, rows = encoder_for(split, **head), np.arange(24)
    batch = split.batch(rows)
    if head.get("texts") == 2:  # two texts of a word or more
        batch.ids_N[batch.lengths_B.cumsum(0) - batch.lengths_B + 2] = encoder.shape.sep_token_id
    with torch.no_grad():
        vectors_BEV, full_BC = vectors_of(encoder, batch)
        sample = VectorBatch(vectors_BEV, full_BC, batch.labels_B)
        heads = VectorHeads(encoder, SelfDistillation(), CHOSEN, sample, 0.2, seed=1)
        before = heads.guesses(vectors_BEV)
        read_BW = heads.heads[2].features(vectors_BEV[:, 1])
        scaled_BW = (read_BW - heads.means[2]) / heads.spreads[2]
        assert scaled_BW.mean(0).abs().max() < 1e-4
        assert scaled_BW.std(0).max() < 1.1
        heads.fold()
        after = encoder(batch, ALL_EXITS).guesses
    for layer, guess_BC in before.items():
        torch.testing.assert_close(after[layer], guess_BC, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after[6], full_BC)


def test_a_head_learns_as_much_beside_some_others_as_beside_all(split, tmp_path: Path):
    """Which is why settings are tried on some exits alone: first, last and those between."""
    encoder = encoder_for(split, kind="pooled")
    kept = kept_vectors(encoder, split, tmp_path)
    settings = {"accelerator": "cpu", "devices": 1, "enable_checkpointing": False}
    vectors = VectorData(kept, kept, 32, seed=1)
    training = HeadTraining(encoder, SelfDistillation(), plan_of(), vectors, settings)
    before = {name: weight.clone() for name, weight in encoder.heads.state_dict().items()}
    training.trained(CHOSEN)
    beside_all = {name: weight.clone() for name, weight in encoder.heads.state_dict().items()}
    training.trained(CHOSEN, most=2)
    for name, weight in encoder.heads.state_dict().items():
        expected = beside_all if name.startswith(("0.", "4.")) else before
        torch.testing.assert_close(weight, expected[name], msg=name)
    assert not torch.equal(beside_all["4.classes.weight"], before["4.classes.weight"])


def trained(run: Run, study: str, *more: str) -> Run:
    """Heads on a finished run, in six steps."""
    others = [override for override in TINY if not override.startswith("encoder")]
    given = [*others, f"encoder.pretrained={run.folder / 'model'}", "encoder=bert_6"]
    given += [f"study={study}", "model=eat_heads", "one_pass.epochs=[2]", *more]
    given += ["trainer.max_steps=6", "one_pass.batch_size=32", f"data._target_={toy.TARGET}"]
    config = config_of(*given)
    train(config, given)
    return Run.open(folder_for(config, given))


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.folder / "model" / "model.safetensors")


def test_a_run_of_heads_keeps_full_depth_and_reads_no_label(run: Run, monkeypatch):
    """Full depth is bit-equal; with other labels of the training data the same weights come out,
    also of a run that was killed and begun again."""
    heads = trained(run, "heads")
    batch = run.data().split("validation").batch(np.arange(8))
    encoder, static = (r.model()[0] for r in (heads, run))
    guesses = encoder(batch, ALL_EXITS).guesses
    assert sorted(guesses) == [0, 1, 2, 3, 4, 5, 6]
    ours, theirs = weights_of(heads), weights_of(run)
    same = [n for n in theirs if n.startswith(("encoder.layers.", "encoder.heads.6."))]
    assert all(torch.equal(ours[name], theirs[name]) for name in same)
    assert torch.equal(guesses[6], static.replacing(reduction=encoder.reduction)(batch).logits_BC)
    (row,) = [r for r in read(heads.folder / "rows.jsonl") if not r.baseline]
    kept = {name: value for name, value in static.head.items() if name != "layers"}
    own = {"kind": "aligned", "texts": 1, "pool": "mean", "activation": "tanh"}
    own |= {"largest": True, "narrowing": 4}
    assert row.head is not None
    assert row.head.as_dict() == own | {"last": kept}
    noted = json.loads((heads.folder / "done.json").read_text())
    assert noted["one_pass"]["epochs"] == 2
    assert sorted(noted["calibration"]) == ["0", "1", "2", "3", "4", "5"]  # not the last one's

    monkeypatch.setenv(toy.TURNED, "train,select,temperature")
    monkeypatch.setenv(toy.FORBIDDEN, "select")
    with pytest.raises(AssertionError, match="select was looked at"):  # vectors of train are kept
        trained(run, "poisoned")
    monkeypatch.delenv(toy.FORBIDDEN)
    again = weights_of(trained(run, "poisoned"))
    assert all(torch.equal(again[name], weight) for name, weight in ours.items())


def test_a_run_of_heads_looks_at_no_example_of_dev(run: Run, monkeypatch):
    """Other dev texts and labels leave weights, temperatures and settings bit-equal, and give
    another score."""
    clean = trained(run, "heads")
    for change in (toy.TURNED, toy.REWORDED):
        monkeypatch.setenv(change, "validation")
    other = trained(run, "other_dev")
    ours, theirs = weights_of(clean), weights_of(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(theirs[name], weight) for name, weight in ours.items())
    for what in ("calibration", "one_pass"):
        assert other.done[what] == clean.done[what]
    assert other.done["score"] != clean.done["score"]
    assert other.done["train_seconds"] is None  # its vectors had been kept


def test_texts_of_another_file(tmp_path: Path):
    path = tmp_path / "texts.txt"
    path.write_text("good film\nnot bad\n")
    data = data_of(planned(config_of(*TINY, "objective=self_distillation", f"data.texts={path}")))
    split = data.split("texts")
    assert split.source.texts == [["good film", "not bad"]]
    assert split.labels.tolist() == [-100, -100]
    with pytest.raises(ConfigError, match="has no labels, which GradientEquilibrium reads"):
        planned(config_of(*TINY, f"data.texts={path}"))
    path.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        planned(config_of(*TINY, "objective=self_distillation", f"data.texts={path}"))
    with pytest.raises(ConfigError, match=r"data.texts: there is no file /nowhere.txt"):
        planned(config_of(*TINY, "objective=self_distillation", "data.texts=/nowhere.txt"))


def test_what_needs_the_encoder_in_every_step():
    for kind, alone in {"pooled": True, "pair": True, "shared": False, "attention": False}.items():
        assert reads_one_vector(tiny(head={"kind": kind, "layers": [3]}).heads["3"]) is alone
    encoder = tiny(head={"layers": [3]})
    frozen, all_move = TwoStage(backbone_share=0.0).stages(1, [3, 6]), [Stage()]
    assert trains_early_heads_alone(encoder, frozen)
    assert not trains_early_heads_alone(encoder, all_move)
    assert not trains_early_heads_alone(encoder, TwoStage(backbone_share=0.5).stages(1, [3, 6]))
    attentive: Any = SimpleNamespace(
        encoder=tiny(exit="cats", head={"kind": "shared", "layers": [3, 4]}),
        objective=HiddenDistillation(),
    )
    assert blockers(attentive, 2) == [
        "head=shared needs more than a vector of its exit",
        "exit: MetaConsistency learns from vectors of the encoder",
        "objective: HiddenDistillation needs more than logits",
        "trainer: more than one process",
    ]
    assert SelfDistillation().reads_labels is False
    assert SelfDistillation(target="both").reads_labels
    assert GradientEquilibrium().reads_labels


def plan_of(**changes: Any) -> OnePassSettings:
    settings = {"enabled": True, "texts": None, "batch_size": 8, "dropout": 0.0}
    settings |= {"lr": [1.0, 3.0], "weight_decay": [0.0, 0.5], "epochs": [2, 4, 8]}
    return OnePassSettings.model_validate(settings | changes)


def test_settings_are_chosen_one_after_another():
    """The loss is a sum over settings, so that the best of each is the best of all."""
    tried = []
    good = {1.0: 1, 3.0: 0, 0.0: 0, 0.5: 3, 2: 5, 4: 4, 8: 6}

    def loss_of(chosen: Chosen) -> float:
        tried.append(chosen)
        return sum(good[value] for value in vars(chosen).values())

    assert searched(plan_of(), loss_of) == Chosen(3.0, 0.0, 4)
    assert len(tried) == 5  # 1 + 1 + 1 + 2
    alone = plan_of(lr=[1.0], weight_decay=[0.5], epochs=[8])
    assert searched(alone, loss_of) == Chosen(1.0, 0.5, 8)
    assert len(tried) == 5  # nothing to choose


RULES = {"moods": "every_label", "stsb": "predicted_error"}


# Nine steps make scores that hardly vary, of which torchmetrics warns.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["moods", pytest.param("stsb", marks=pytest.mark.slow)])
def test_heads_learn_what_full_depth_answers(task: str, monkeypatch, tmp_path):
    """The backbone and the last head stay bit-equal; no label is read, so none must be known."""
    static = shared_run(f"task={task}", "model=bert", "measure.enabled=false")
    monkeypatch.setenv("EAT_OUTPUTS", str(tmp_path))
    given = [override for override in TINY if not override.startswith("encoder")]
    given += [f"encoder.pretrained={static.folder / 'model'}", "encoder=bert_6", f"task={task}"]
    given += ["model=eat_heads", f"exit={RULES[task]}", "one_pass.batch_size=32"]
    given += ["one_pass.lr=[3.0e-3]", "one_pass.weight_decay=[0.05]", "one_pass.epochs=[12]"]
    given += ["measure.enabled=false", f"data.cache_dir={tmp_path}"]
    config = config_of(*given)
    assert planned(config).kind.problem_type == static.kind.problem_type
    train(config, given)
    run = Run.open(folder_for(config, given))
    before, after = (load_file(r.folder / "model" / "model.safetensors") for r in (static, run))
    assert all(torch.equal(after[name], weight) for name, weight in before.items() if name in after)
    recorded = record(run.model()[0], run.data().split("train"))
    full_BC = recorded.guesses[max(recorded.guesses)]
    closer = run.kind.divergence(*map(torch.tensor, (recorded.guesses[0], full_BC)), 1.0)
    assert closer < run.kind.divergence(torch.zeros(full_BC.shape), torch.tensor(full_BC), 1.0)
    [row, *_] = read(run.folder / "rows.jsonl")
    assert row.metric == run.task.metrics[0]
    if task == "stsb":  # the error that is said is nearer to the true one than none is
        score_B, error_B = torch.tensor(recorded.guesses[2]).unbind(1)
        apart_B = (score_B - torch.tensor(full_BC[:, 0])).abs()
        assert (error_B - apart_B).square().sum() < apart_B.square().sum()


def test_a_classifier_of_another_kind_is_refused(tmp_path):
    static = shared_run("task=moods", "model=bert", "measure.enabled=false")
    given = [override for override in TINY if not override.startswith("encoder")]
    given += [f"encoder.pretrained={static.folder / 'model'}", "encoder=bert_6", "task=sst2"]
    given += ["model=eat_heads", "task.labels=[a,b,c,d,e]", "data.num_train=20"]
    with pytest.raises(ConfigError, match="problem_type is 'multi_label_classification', the"):
        planned(config_of(*given))
