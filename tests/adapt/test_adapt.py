"""A classifier and texts into a folder, with a tiny BERT and times that are made up."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from helpers.adapting import BENCH, adapted_by, made_up_times, plan_of, taken
from helpers.classifiers import LABELS, drawn_texts, save_classifier
from helpers.finished import config_of
from helpers.finished import refused as said_in_one_line

import eat_lightning
from eat_lightning import text_io
from eat_lightning.bundle.adapted import read_dial
from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.original import Original
from eat_lightning.config import parsed
from eat_lightning.data.unlabelled import read_texts
from eat_lightning.deploy.adapt import command as command
from eat_lightning.deploy.adapt import run
from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.plan import AdaptSettings, TimesSettings
from eat_lightning.deploy.adapt.report import MOST_SHOWN, verdict_on
from eat_lightning.deploy.adapt.work import LOCK, Work
from eat_lightning.deploy.drift.command import drift
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.errors import ConfigError
from eat_lightning.files import replacing
from eat_lightning.record.claim import Claim, Tally
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.same_answer import same_answer_of


def test_plain_transformers_opens_the_original_bit_for_bit(adapted: AdaptResult, classifier: Path):
    from transformers import pipeline

    folder = Path(adapted.plan.to)
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (classifier / weights).read_bytes()
    given = drawn_texts(8, seed=5)
    ours, theirs = (pipeline("text-classification", model=str(f)) for f in (folder, classifier))
    assert ours(given) == theirs(given)


def test_training_is_that_of_the_number_of_texts_unless_given(classifier: Path, tmp_path: Path):
    texts = tmp_path / "texts.txt"
    texts.write_text("a text\n")
    given = classifier, texts, tmp_path / "to"
    one, two = plan_of(*given), plan_of(*given, "columns=[premise,hypothesis]")
    assert one.heads.lr > two.heads.lr
    own = plan_of(*given, "heads.lr=[0.02,0.01]", "heads.epochs=[3]").heads
    assert (own.lr, own.epochs) == ([0.02, 0.01], [3])


def test_pairs_from_python_are_pairs_to_the_plan(classifier: Path, monkeypatch):
    plans: list[AdaptSettings] = []

    def stop(plan: AdaptSettings, texts: Any) -> None:
        plans.append(plan)
        raise ConfigError("enough")

    monkeypatch.setattr(run, "adapt", stop)
    for texts in ([("a", "b")], ["a"]):
        with pytest.raises(ValueError, match="enough"):
            eat_lightning.adapt(classifier, texts, heads={"epochs": [2], "lr": None})
    pairs, single = plans
    assert (pairs.num_columns, single.num_columns) == (2, 1)
    assert pairs.heads.lr < single.heads.lr


def test_drift_is_compared_with_the_texts_of_the_certificate(
    adapted: AdaptResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`eat drift` takes the reference that the folder brings."""
    folder, split = Path(adapted.plan.to), adapted.splits["certify"]
    lines = tmp_path / "stream.parquet"
    pq.write_table(pa.table({"text": [split.text(i)[0] for i in range(60)]}), lines)
    assert drift(config_of("drift", f"run='{folder}'", f"stream='{lines}'")) == 0
    [end] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (end["state"], end["seen"]) == ("early_exits", 60)
    with pytest.raises(ConfigError, match="adapt made its reference: give drift a stream"):
        drift(config_of("drift", f"run='{folder}'"))


def test_the_card_and_the_last_line_say_what_was_won(adapted: AdaptResult):
    card = (Path(adapted.plan.to) / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification")
    assert adapted.won in card
    assert adapted.changes in card
    assert f"`page.html` shows up to {MOST_SHOWN} of the texts as they were given" in card
    assert "with 95 % confidence at most 10 % of answers change" in adapted.won
    assert "10.0 ms per text" in adapted.won
    times = 10 / adapted.chosen.ms["1"]
    assert f": {times:.1f} times ({times:.1f} to {times:.1f}) as fast" in adapted.won
    written = read_dial(Bundle(Path(adapted.plan.to)))
    assert any(c.speed_up.get("1") == pytest.approx([times] * 3) for c in written)


def test_a_trial_says_so_in_its_card(adapted: AdaptResult):
    """Times of 40 texts are those of quick=true; the guarantee is not weaker."""
    usual, few = (
        replace(adapted, plan=adapted.plan.model_copy(update={"times": times}))
        for times in (TimesSettings(examples=200, repeats=3), TimesSettings(examples=40, repeats=1))
    )
    assert usual.trial == ""
    assert "40 texts were timed, so that another candidate may be faster" in few.trial


def test_a_static_choice_says_whether_exits_were_faster(adapted: AdaptResult):
    def ended(ms: float) -> str:
        static = Measured(Point.whole(), ms={"1": 5.0, "32": 5.0})
        claim = Claim("disagreement", 0.1, 0.95)
        static.counts = static.tested = [Tally(claim, 1042, 0)]
        broken = [Tally(claim, 1042, 500)]
        exits = replace(adapted.chosen, ms={"1": ms, "32": ms}, tested=broken)
        return replace(adapted, candidates=[adapted.first, static, exits]).without_exits

    assert adapted.chosen.point.has_exits
    assert adapted.without_exits == ""
    assert "Early exits were faster, but changed too many answers" in ended(4.0)
    assert ended(6.0) == " Early exits made it no faster."


def test_a_candidate_that_is_not_tried_says_why(adapted: AdaptResult):
    counts = [Tally(Claim("disagreement", 0.02, 0.95), num=1042, changed=17)]
    risky = Measured(Point.whole("onnx", "int8"), counts=counts, ms={"1": 1e-9, "32": 1e-9})
    assert verdict_on(adapted, risky) == "changes too many, 13 of 1,042 may"
    counts = [replace(counts[0], changed=0)]
    slow = Measured(Point.whole("onnx", "int8"), counts=counts, ms={"1": 1e9, "32": 1e9})
    assert verdict_on(adapted, slow) == "slower than the chosen"


def test_a_promise_of_a_class_is_offered_where_it_has_texts_enough(adapted: AdaptResult):
    names = adapted.original.same.labels
    few = replace(adapted, original_answers={"certify": adapted.original_answers["certify"][:3]})
    assert not any(map(few.may_be_claimed, names))
    many_NC = np.eye(len(names))[np.arange(5000) % len(names)]
    many = replace(adapted, original_answers={"certify": many_NC})
    assert all(map(many.may_be_claimed, names))


def test_no_folder_of_this_machine_is_given_away(adapted: AdaptResult, classifier: Path):
    for name in ("README.md", "page.html"):
        shown = (Path(adapted.plan.to) / name).read_text()
        assert f"{classifier.name}, adapted" in shown
        assert str(classifier.parent) not in shown


def test_scratch_is_gone_and_nothing_else_is_there(adapted: AdaptResult):
    folder = Path(adapted.plan.to)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_killed_one_goes_on(classifier: Path, few_texts: Path, tmp_path: Path):
    """Nothing that was kept is done again, and the folder is what it would have been."""
    plan = plan_of(classifier, few_texts, tmp_path / "adapted", "agree=0.8")

    def killed(times: int) -> dict[str, int]:
        """What is kept when it is killed as it times candidates for the n-th time."""
        calls = iter(range(1, 1 + times))

        def timed(candidates: dict[str, Any], **how: Any) -> Any:
            if next(calls) == times:
                raise KeyboardInterrupt
            return made_up_times(candidates, **how)

        with pytest.raises(KeyboardInterrupt):
            adapted_by(timed, plan)
        assert [path.name for path in tmp_path.iterdir()] == ["adapted.part"]
        files = (tmp_path / "adapted.part").rglob("*")
        return {str(path): path.stat().st_mtime_ns for path in files if path.suffix in KEPT}

    first = killed(1)
    assert {"original-select-0000.npz", "model.safetensors"} <= {Path(name).name for name in first}
    assert killed(2).items() >= first.items()
    assert adapted_by(made_up_times, plan).chosen.holds
    assert [path.name for path in tmp_path.iterdir()] == ["adapted"]


KEPT = (".npz", ".npy", ".safetensors")


def test_other_settings_begin_anew_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = Work.open(tmp_path / "adapted", {"most": 90}).folder
    (folder / "old.json").write_text("1")
    assert (Work.open(tmp_path / "adapted", {"most": 90}).folder / "old.json").is_file()
    assert not (Work.open(tmp_path / "adapted", {"most": 80}).folder / "old.json").exists()
    assert "was begun with another most, and begins anew" in capsys.readouterr().out


def test_passes_are_kept_for_another_promise(classifier: Path, texts: Path, tmp_path: Path):
    def key(**changes: Any) -> dict[str, Any]:
        plan = plan_of(classifier, texts, tmp_path / "to").model_copy(update=changes)
        return steps.identity(plan, [], read_texts(["a text"], None, 9))

    assert key() == key(agree=0.5, batch=32, engines=[])
    assert key() != key(least_steps=7)


def test_a_damaged_folder_is_refused(adapted: AdaptResult, tmp_path: Path):
    folder = shutil.copytree(adapted.plan.to, tmp_path / "copy")
    (folder / "exits" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigError, match="its exits are not those it was certified with"):
        Model.open(folder)
    with pytest.raises(ValueError, match="its exits are not those it was certified with"):
        eat_lightning.load(folder).certificate  # noqa: B018
    (folder / "bundle.json").write_text(json.dumps({"engine": "java"}))
    with pytest.raises(ConfigError, match=r"bundle.json: cannot be read"):
        Model.open(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["BertForTokenClassification"]}, "must be a text classifier"),
        ({"model_type": "t5"}, "model_type must be one of"),
        ({"problem_type": "regression"}, "num_labels must be 1 for regression, got 2"),
        ({"id2label": {"0": "no", "1": ""}}, "id2label must name each of 2 classes"),
        ({"id2label": {"0": "no", "1": "no"}}, "id2label must name each of 2 classes"),
        ({"hidden_size": 31}, "num_heads must divide hidden_size"),
        ({"id2label": {"0": "Entailment", "1": "other"}}, "zero-shot classification is another"),
    ],
)
def test_a_folder_that_cannot_be_adapted_is_one_line(
    config: dict[str, Any], message: str, classifier: Path, texts: Path, tmp_path: Path
):
    folder = shutil.copytree(classifier, tmp_path / "model")
    whole = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(whole))
    refused(plan_of(folder, texts, tmp_path / "to"), message)


def refused(plan: AdaptSettings, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        adapted_by(made_up_times, plan)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    parent = Path(plan.to).parent
    assert not [path for path in parent.iterdir() if path.name.startswith(Path(plan.to).name)]


def test_a_folder_without_a_classifier_is_one_line(classifier: Path, texts: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(classifier, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    backbone = {name: w for name, w in weights.items() if not name.startswith("classifier.")}
    save_file(backbone, folder / "model.safetensors")
    refused(plan_of(folder, texts, tmp_path / "to"), "its weights hold no classifier")


def test_a_model_that_no_hub_has_is_one_line(texts: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^model=somebody/model is neither .*$"):
        plan_of(Path("somebody/model"), texts, tmp_path / "to")


@pytest.mark.parametrize("name", ["/gone", "a/b/c", "here"])
def test_paths_are_checked_before_anything_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    with pytest.raises(ConfigError) as caught:
        plan_of(Path(name), tmp_path / "gone.txt", tmp_path / "to")
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"model={name}: ")
    assert second.startswith("texts=")


def test_two_commands_do_not_work_in_one_folder(tmp_path: Path):
    (tmp_path / "to.part").mkdir()
    with (
        FileLock(tmp_path / "to.part" / LOCK),
        pytest.raises(ConfigError, match=r"^to=.*/to: another process is at work in .*/to\.part$"),
    ):
        Work.open(tmp_path / "to", {})
    assert Work.open(tmp_path / "to", {}).folder.is_dir()


def test_others_may_read_what_is_written(tmp_path: Path):
    """As far as a new file of this user may be read: safetensors makes files of one user."""
    with replacing(tmp_path / "x") as beside:
        beside.touch(0o600)
    (tmp_path / "y").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_a_full_disk_is_one_line_and_the_command_goes_on(
    classifier: Path, few_texts: Path, tmp_path: Path
):
    """No file may grow as large as the weights: writing these fails, in safetensors."""
    resource = pytest.importorskip("resource")
    few = ["agree=0.8", "engines=[]", "heads.enabled=false", "times.examples=2", "times.repeats=1"]
    words = [f"classifier='{classifier}'", f"texts='{few_texts}'", f"to='{tmp_path / 'to'}'", *few]
    size = (classifier / "model.safetensors").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1000, before[1]))
    try:
        with pytest.raises(ConfigError, match="the same command goes on") as raised:
            command.adapt(config_of("adapt", *words))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(raised.value).startswith(f"to={tmp_path / 'to'}: ")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["to.part"]
    command.adapt(config_of("adapt", *words), BENCH)
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_rare_classes_are_named_in_one_line(capsys: pytest.CaptureFixture[str]):
    """Of 400 answers 4 are of one class: none of these has to stay for 99 % of all."""
    same = same_answer_of({"id2label": {"0": "no", "1": "toxic"}}, 2, "x")
    original_NC = np.tile([1.0, 0.0], (400, 1))
    original_NC[:4] = [0.0, 1.0]
    every = Claim("disagreement", 0.01, 0.95)
    steps.tell_rare_classes(original_NC, same, [every])
    (line,) = capsys.readouterr().out.splitlines()
    assert "1 of 2 are too rare" in line
    assert "toxic has 4 of 400 texts of the certificate" in line
    steps.tell_rare_classes(original_NC, same, [every, replace(every, level=0.5, of="toxic")])
    assert not capsys.readouterr().out


def test_no_code_of_a_folder_runs(classifier: Path, texts: Path, tmp_path: Path):
    folder = shutil.copytree(classifier, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "code.py").write_text("raise SystemExit('was run')")
    whole = json.loads((folder / "config.json").read_text())
    whole["auto_map"] = {"AutoModelForSequenceClassification": "code.Model"}
    (folder / "config.json").write_text(json.dumps(whole))
    torch.save({"x": print}, folder / "pytorch_model.bin")
    refused(plan_of(folder, texts, tmp_path / "to"), "not a file of weights alone")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agree=0.999"], "texts: 1,200 distinct ones are too few: agree=0.999 at confidence=0.95"),
        (["per_class={maybe: 0.9}"], "per_class must name among no, yes, got maybe"),
        (["max_length=8", "per_class={yes: 0.9999}"], "per_class: the original answers yes to"),
    ],
)
def test_what_is_asked_for_in_vain_is_one_line(words, message, classifier, texts, tmp_path):
    plan = plan_of(classifier, texts, tmp_path / "to", *words)
    with pytest.raises(ConfigError) as raised:
        adapted_by(made_up_times, plan)
    assert message in str(raised.value)
    assert not Path(plan.to).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agree=1.5"], "agree must be below 1, got 1.5"),
        (["columns=[a,b,c]"], "columns must name one or two"),
        (["shares=[0.5,0.5]"], "shares must be three that sum to 1"),
    ],
)
def test_wrong_settings_are_one_line(words, message, classifier, texts, tmp_path):
    with pytest.raises(ConfigError) as raised:
        plan_of(classifier, texts, tmp_path / "to", *words)
    assert message in str(raised.value)


def test_a_folder_that_exists_is_left_alone(classifier: Path, texts: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="is there already"):
        plan_of(classifier, texts, tmp_path)


def test_where_nothing_is_faster_nothing_is_written(classifier, texts, tmp_path):
    def slow(candidates: dict[str, Any], **_: Any) -> Any:
        ms = {key: 1.0 if "transformers" in key else 9.0 for key in candidates}
        yield {key: taken(x) for key, x in ms.items()}

    plan = plan_of(classifier, texts, tmp_path / "to", "heads.enabled=false")
    with pytest.raises(ConfigError, match="nothing faster than the original keeps it"):
        adapted_by(slow, plan)
    assert not Path(plan.to).exists()


def test_the_page_shows_candidates_and_changed_texts(adapted: AdaptResult):
    page = (Path(adapted.plan.to) / "page.html").read_text()
    assert "Time over agreement." in page
    assert "Who leaves where." in page
    (count,) = adapted.chosen.tested or []
    assert f"{count.changed} of {count.num} texts of the certificate." in page


def test_from_python(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Texts as a list; the folder that is made is temporary, and is saved where one wants it."""
    monkeypatch.setattr(run, "BENCH", BENCH)
    found: Any = eat_lightning.adapt(
        classifier,
        drawn_texts(500),
        agree=0.8,
        engines=[],
        heads={"epochs": [2]},
        least_steps=1,
        times={"examples": 2, "repeats": 1},
    )
    answers = found.classify(["a text", "another"])
    assert {answer["label"] for answer in answers} <= {*LABELS}
    assert found.certificate.tallies[0].num == 150
    assert found.table["name"][0] == "transformers, fp32"
    found.save(tmp_path / "kept")
    assert Model.open(tmp_path / "kept").answer([["a text"]])[0] == answers[0]
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "kept")
    with pytest.raises(ValueError, match="each example must have 1 texts, got 2"):
        found.classify([("a", "b")])
    with pytest.raises(ValueError, match=r"is a classifier: call classify\(texts\)"):
        eat_lightning.load(tmp_path / "kept").rank("a", ["b"])


def test_from_python_what_is_wrong_is_a_value_error(classifier: Path):
    no_text: Any = ["one", None]
    no_setting: Any = {"epoch": [1]}
    with pytest.raises(ValueError, match="1 distinct ones are too few"):
        eat_lightning.adapt(classifier, ["one"])
    with pytest.raises(ValueError, match=r"texts\[1\] must be a text or a pair, got None"):
        eat_lightning.adapt(classifier, no_text)
    with pytest.raises(ValueError, match=r"heads\.epoch is not an option"):
        eat_lightning.adapt(classifier, ["one"], heads=no_setting)


def test_predict_answers_as_certified_and_takes_no_other_form(adapted: AdaptResult):
    folder = adapted.plan.to
    backend = parsed(PredictSettings, config_of("predict", f"run='{folder}'")).open()
    assert backend.answer([["a text"]]) == Model.open(folder).answer([["a text"]])
    with pytest.raises(ConfigError, match="backend is not an option of run="):
        Model.open(folder, engine="onnx")
    with pytest.raises(ConfigError, match="dtype is not an option of run="):
        parsed(PredictSettings, config_of("predict", f"run='{folder}'", "dtype=int8")).open()


def test_a_folder_that_is_none_and_one_text_are_refused_from_python(
    adapted: AdaptResult, tmp_path: Path
):
    with pytest.raises(ValueError, match="neither `eat adapt` nor `eat rerank` wrote it"):
        eat_lightning.load(tmp_path)
    with pytest.raises(ValueError, match="there is no such folder"):
        eat_lightning.load(tmp_path / "none")
    with pytest.raises(ValueError, match="must be a list of texts"):
        eat_lightning.load(str(adapted.plan.to)).classify("one text")


SCORE = {"id2label": {0: "LABEL_0"}, "label2id": {"LABEL_0": 0}, "problem_type": "regression"}


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("scores", {}, "it answers with a score: give tolerance=... within which"),
        ("scores", {"cuts": [0.5]}, None),
        ("labels", {"tolerance": 0.5}, "tolerance=0.5 is for a score"),
        ("labels", {"cuts": [0.5]}, "cuts=[0.5] is for a score"),
    ],
)
def test_scores_need_a_bound_and_labels_none(kind, words, message, tmp_path: Path):
    settings = SCORE if kind == "scores" else {"problem_type": "multi_label_classification"}
    folder = save_classifier(tmp_path / "model", **settings)
    if message is None:
        assert Original.open(str(folder), **words).same.changes == "scores change sides of 0.5"
        return
    assert message in said_in_one_line(Original.open, str(folder), **words)


def test_sameness_by_hand():
    labels = same_answer_of({"problem_type": "multi_label_classification"}, 2, "x")
    original_NC, others_NC = np.array([[1.0, -1], [2, 3]]), np.array([[0.1, -9], [2, -3]])
    assert labels.changed(original_NC, others_NC).tolist() == [False, True]
    groups = labels.groups(original_NC)
    assert [groups[name].tolist() for name in labels.labels] == [[True, True], [False, True]]
    assert labels.shown(np.array([2.0, -3.0])) == "LABEL_0 (0.88)"
    cut = same_answer_of({}, 1, "x", cuts=[2.5])
    scores_NC, others_NC = np.array([[2.4], [2.6], [2.5]]), np.array([[0.0], [2.4], [9.0]])
    assert cut.changed(scores_NC, others_NC).tolist() == [False, True, False]
    assert cut.shown(np.array([2.4, 0.1])) == "2.400"  # beside a score stands its error


def test_a_predicted_error_is_no_refusal(capsys: pytest.CaptureFixture[str]):
    answers = [{"score": 1.5, "error": 0.2}, {"line": 2, "error": "no text"}]
    assert text_io.write(answers) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_cascade_reads_texts_at_once(classifier, few_texts, tmp_path):
    words = "long=windows", "windows.label=yes", "small=tiny"
    said = said_in_one_line(plan_of, classifier, few_texts, tmp_path / "to", *words)
    assert said == "small=tiny is for texts that are read at once, got long=windows"
