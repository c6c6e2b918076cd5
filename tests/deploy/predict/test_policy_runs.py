"""Policies from a command to an answer: predict, measure, certify, Hugging Face; and refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.certificates import FREE, UNTIMED, call, config_of, make_run
from helpers.finished import refused
from helpers.models import padded, ragged, tiny

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.command import measure
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.methods.policy.min_retention import MinRetention
from eat_lightning.methods.policy.per_source import PerSource
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run
from eat_lightning.text_io import parse
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.hf_folder import save_run_model

TEXTS = ["good", "not bad film", "a fine film and not a bad one", "bad", "film", "not good"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def answerer(run: Path, *policies, certificate: str | None = None, tau: float = 0.4) -> TorchModel:
    exit = FREE | ({} if certificate else {"tau": tau})
    return TorchModel.open(run, exit=exit, certificate=certificate, policies=policies or None)


def told(run: Path, *policies, about=None, **how) -> list[tuple[int, str]]:
    found = answerer(run, *policies, **how).answer([[text] for text in TEXTS], about)
    return [(answer["depth"], answer["exit_reason"]) for answer in found]


def test_a_line_says_what_is_known_of_its_example(run: Path):
    line = b'{"text": "good", "source": "mail", "mime": "text/html", "size": 3, "sentence": "x"}'
    assert parse(line, ["sentence"]).about == {"source": "mail", "mime": "text/html"}
    assert parse(b"good", ["sentence"]).about == {}
    assert parse(b"[1]", ["sentence"]).about == {}
    policy = FullDepth(sources=["mail"], mimes=["text/*"])
    lines = ["good", {"text": "good", "source": "mail"}, {"text": "good", "mime": "Text/HTML"}]
    lines = [x if isinstance(x, str) else json.dumps(x) for x in lines]
    answers = answerer(run, policy)([line.encode() for line in lines])
    assert [a["exit_reason"] for a in answers] == ["confident", "fallback", "fallback"]
    assert [a["depth"] for a in answers] == [3, 6, 6]


def test_an_unknown_source_gets_full_depth(run: Path):
    about = [{"source": name} for name in ("mail", "web", "phone")] + [{}] * 3
    given = told(run, PerSource({"mail": 0.4, "web": 0.9999}), about=about)
    assert given == [(3, "confident"), (6, "last_layer"), *[(6, "fallback")] * 4]


@pytest.fixture
def second(run: Path) -> Path:
    """Another run of the same labels and tokenizer."""
    return always(run, 0)


def always(run: Path, label: int) -> Path:
    """A second run that gives each example this class."""
    folder = Path(shutil.copytree(run, run.parent / f"always-{label}"))
    encoder, labels = load_model(folder / "model")
    with torch.no_grad():
        for head in encoder.heads.values():
            head.classes.bias[label] += 1000
    save_run_model(encoder, labels, folder / "model")
    return folder


@pytest.mark.parametrize("label", [0, 1])
def test_a_second_run_must_agree(run: Path, label: int):
    """Any confidence is enough at tau 0.4, and any margin too low: who leaves is whose answer there
    is the class that the second run always gives."""
    encoder, _ = load_model(run / "model")
    ids = [toy_tokenizer()(text)["input_ids"] for text in TEXTS]
    guesses = encoder(Batch.from_lists(ids), ALL_EXITS).guesses
    expected = []
    for at_3, at_4 in zip(*(guesses[k].argmax(-1).tolist() for k in (3, 4)), strict=True):
        left = [(k, "confident") for k, said in ((3, at_3), (4, at_4)) if said == label]
        expected.append([*left, (6, "vetoed")][0])
    assert told(run, Veto(1.0, run=str(always(run, label)))) == expected


def test_a_second_run_must_fit(run: Path, second: Path):
    encoder, _ = load_model(second / "model")
    save_run_model(encoder, ["no", "yes"], second / "model")
    message = refused(answerer, run, Veto(run=str(second)))
    assert message == (f"policy.veto.run={second} has the labels no, yes, not negative, positive")
    path = second / "model/tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": None}))
    with pytest.raises(ConfigError, match="has another tokenizer"):
        answerer(run, Veto(run=str(second)))


def test_measured_with_policies(run: Path, capsys: pytest.CaptureFixture[str]):
    over = [
        "policy=[min_retention,veto]",
        "policy.veto.margin=0.9",
        "policy.min_retention.share=0.8",
    ]
    (row,) = measure(config_of("measure", run, *UNTIMED, "exit.tau=0.6", *over))
    assert [given.kind for given in row.policy] == ["min_retention", "veto"]
    assert read(run / "rows-policy.jsonl") == [row]
    assert read(run / "rows.jsonl") == []
    (before,) = measure(config_of("measure", run, *UNTIMED, "exit.tau=0.6"))
    assert before.policy == []
    assert read(run / "rows.jsonl") == [before]
    assert row.depth > before.depth
    assert {"confident", "vetoed"} <= {*row.exit_reasons}
    assert before.exit_reasons == {"confident": 1.0}
    assert f"vetoed {100 * row.exit_reasons['vetoed']:.1f} %" in " ".join(
        capsys.readouterr().out.split()
    )
    encoder, _ = load_model(run / "model")
    encoder.exit.tau = 0.6
    encoder.policies = (MinRetention(0.8), Veto(0.9))
    split = Run.open(run).data().split("validation")
    traces = [encoder(split.batch([i])) for i in range(len(split))]
    assert row.depth == pytest.approx(sum(int(t.depth_B[0]) for t in traces) / len(split))
    assert row.retention == pytest.approx(sum(float(t.retention_B[0]) for t in traces) / len(split))


def test_a_certificate_holds_for_its_policies(run: Path):
    bare = call(run, "risk=harm", "level=0.3", "name=bare")
    veto = call(run, "risk=harm", "level=0.3", "name=careful", "policy=veto")
    [named] = veto.point.policies or ()
    assert named.as_dict() == {"kind": "veto", "margin": 0.9, "run": None}
    assert not bare.fallback
    message = refused(lambda: answerer(run, Veto(), certificate="bare"))
    assert message == (
        "certificate=bare holds for another policy (none there, veto margin 0.9 run None here)"
    )
    message = refused(lambda: answerer(run, Veto(0.3), certificate="careful"))
    assert message.startswith(
        "certificate=careful holds for another policy (veto margin 0.9 run None "
    )
    ready = answerer(run, certificate="careful")  # by name alone
    assert [type(policy) for policy in ready.encoder.policies][-1] is Veto
    over = ["certificate=bare", "policy=full_depth"]
    message = refused(measure, config_of("measure", run, *UNTIMED, *over))
    assert message.startswith("certificate=bare holds for another policy (none there, full_depth ")
    (row,) = measure(config_of("measure", run, *UNTIMED, "certificate=careful"))
    assert [given.kind for given in row.policy] == ["veto"]


def test_a_second_run_of_other_weights_is_another_combination(run: Path, second: Path):
    given = f"policy.veto.run='{second}'"
    held = call(run, "risk=harm", "level=0.4", "name=both", "policy=veto", given, "taus=[0.6]")
    assert len(held.holds_for["second"]) == 1
    answerer(run, certificate="both")
    encoder, labels = load_model(second / "model")
    encoder.heads["6"].temperature.mul_(2)
    save_run_model(encoder, labels, second / "model")
    assert refused(lambda: answerer(run, certificate="both")).startswith(
        "certificate=both holds for another second ("
    )


def test_hugging_face_saves_and_asks(tmp_path: Path):
    from eat_lightning.bundle.hf import EatForSequenceClassification

    encoder, batch = tiny("dense", "norm_topk", "confidence"), ragged()
    encoder.policies = (FullDepth(sources=["mail"]), MinRetention(0.9, ["web"]))
    batch.about = [{"source": name} for name in ("mail", "web", "mail", "x", "web")]
    expected = encoder(batch)
    model = EatForSequenceClassification.around(encoder, ["a", "b", "c"])
    model.save_pretrained(tmp_path)
    loaded = EatForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        output = loaded(**padded(batch), about=batch.about)
        assert torch.equal(
            loaded(**padded(batch)).depth, tiny("dense", "norm_topk", "confidence")(batch).depth_B
        )
    assert torch.equal(output.depth, expected.depth_B)
    assert torch.equal(output.exit_reason, expected.reason_B)
    assert torch.equal(output.tokens, expected.tokens_LB)
    assert load_model(tmp_path)[0](batch).reason_B.tolist() == expected.reason_B.tolist()
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["policy"] = [{"kind": "veto", "run": "/"}]
    path.write_text(json.dumps(config))
    for load in (EatForSequenceClassification.from_pretrained, load_model):
        with pytest.raises((ValueError, ConfigError), match=r"names a file of this machine"):
            load(tmp_path)


def test_a_saved_model_holds_no_path(run: Path, second: Path, tmp_path: Path):
    encoder, labels = load_model(run / "model")
    encoder.policies = (Veto(run=str(second)),)
    with pytest.raises(ValueError, match=r"policy.veto.run names a file of this machine"):
        save_run_model(encoder, labels, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_export_refuses_policies(run: Path):
    pytest.importorskip("onnxruntime")
    from eat_lightning.bundle.graphs.command import export

    encoder, labels = load_model(run / "model")
    encoder.policies = (FullDepth(), Veto())
    save_run_model(encoder, labels, run / "model")
    message = refused(export, config_of("export", run, "check=0"))
    assert message == "policy: exports have none, and this run's model has full_depth, veto"
