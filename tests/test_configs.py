"""Every yaml composes and binds; every fault is named in one line, all at once."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.finished import called, config_of
from helpers.models import each_once
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from docs.site.settings import RENAMED
from eat_lightning.cli import Command
from eat_lightning.command_help import CommandHelp
from eat_lightning.composing import compose_or_explain, dotted_keys
from eat_lightning.config import CONFIG_DIR, binding_faults
from eat_lightning.data import glue
from eat_lightning.data.source import check
from eat_lightning.deploy.adapt.plan import as_trial
from eat_lightning.errors import ConfigError
from eat_lightning.overrides import as_settings
from eat_lightning.train.__main__ import main
from eat_lightning.train.plan import planned

Called = Callable[..., tuple[int, str, str]]
CONFIGS = Path(CONFIG_DIR)
GROUPS = ("task", "data", "encoder", "attention", "reduction", "exit", "objective", "schedule")
CHOICES = [  # of each other group the overrides that choose; models and experiments are below
    [f"{g}={p.stem}" for p in sorted(CONFIGS.glob(f"{g}/*.yaml"))]
    for g in ("head", "trainer", "logger")
]
EXPERIMENTS = [p.stem for p in sorted(CONFIGS.glob("experiment/*.yaml"))]


@pytest.fixture(autouse=True)
def a_hub_with_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether data can be had is another file's matter, and differs between machines."""
    monkeypatch.delenv("EAT_DATA", raising=False)
    monkeypatch.setenv("EAT_OUTPUTS", "no_such_outputs")
    monkeypatch.setattr(
        glue, "check", lambda task, dir, *more: check(task, dir, *more) if dir else []
    )


def resolved(*overrides: str, name: str = "train") -> dict:
    return config_of(name, *overrides)


def train_faults(config: dict) -> list[str]:
    try:
        planned(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_every_choice_binds() -> None:
    """In the place of its group in a config that is composed, where its interpolations lead."""
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = compose("train")
    found = {}
    for group in GROUPS:
        before = config[group]
        for path in CONFIGS.glob(f"{group}/*.yaml"):
            config[group] = OmegaConf.load(path)
            node = OmegaConf.to_container(config[group], resolve=True)
            found[f"{group}={path.stem}"] = binding_faults(group, node)
        config[group] = before
    assert len(found) > 60
    assert {choice: faults for choice, faults in found.items() if faults} == {}


@pytest.mark.parametrize("overrides", each_once(*CHOICES), ids=str)
def test_every_other_choice_composes(overrides: tuple[str, ...]) -> None:
    assert resolved(*overrides)


@pytest.mark.parametrize("entry", ["predict", "measure", "certify"])
def test_every_policy_composes_and_binds(entry: str) -> None:
    choices = [p.stem for p in sorted(CONFIGS.glob("policy/*.yaml"))]
    config = resolved(f"policy=[{','.join(choices)}]", name=entry)
    assert [*config["policy"]] == choices
    for choice in choices:
        assert binding_faults("policy", config["policy"][choice]) == []


def test_policies_come_in_the_order_they_are_named() -> None:
    named = resolved("policy=[veto,min_retention]", "policy.veto.margin=0.4", name="predict")
    assert [*named["policy"]] == ["veto", "min_retention"]
    assert named["policy"]["veto"]["margin"] == 0.4
    assert resolved(name="predict")["policy"] == {}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_sound(experiment: str) -> None:
    config = resolved(f"experiment={experiment}")
    # Of a student: a run of another experiment, which is not there; its encoder is looked at first.
    teacher, body = config["teacher"], config["encoder"].get("pretrained")
    begun = teacher is not None and body.startswith(teacher)
    missing = f"encoder.pretrained={body}" if begun else f"teacher={teacher}"
    assert train_faults(config) == ([f"{missing}: there is no such folder"] if teacher else [])


@pytest.mark.parametrize("model", [p.stem for p in sorted(CONFIGS.glob("model/*.yaml"))])
def test_every_model_is_sound_and_names_itself(model: str) -> None:
    config = resolved(f"model={model}")
    assert config["model"] == model
    needed = ["objective needs a teacher: give teacher=<run or model folder>"]
    assert train_faults(config) == (needed if model == "eat_heads_steps" else [])


def test_the_paper_is_as_printed() -> None:
    config = resolved("experiment=paper", "task=mnli")
    assert config["encoder"]["num_layers"] == 6
    assert config["reduction"] == {
        "_target_": "eat_lightning.methods.reduction.norm_topk.NormTopK",
        "ratio": 0.3,
        "layers": [2, 4],
    }
    assert config["attention"]["window"] == 32
    assert config["attention"]["layers"] is None
    assert config["exit"]["layers"] == [4]
    assert (config["optimizer"]["lr"], config["optimizer"]["weight_decay"]) == (3e-5, 0.01)
    assert (config["schedule"]["start"], config["schedule"]["end"]) == (1.0, 3.0)
    assert config["task"]["max_length"] == 320
    assert config["objective"]["early_weight"] == 0.3


FAULTS = {
    "exit.layers=[1]": "exit.layers must have exit heads (at [3, 4]), got 1",
    "+reduction.colour=3": "reduction.colour is not an option of NormTopK",
    "encoder.pretrained=./nowhere": "encoder.pretrained=./nowhere: there is no such folder",
    "objective.distill=0.5": "objective needs a teacher",
    "schedule.end=0.5": "schedule.end must be at least schedule.start=1.0, got 0.5",
    "+optimizer.colour=3": "optimizer.colour is not an option of AdamW",
    "+callbacks.note._target_=torch.nn.ReLU": "callbacks.note._target_ must name a Callback",
    "optimizer.lr=-1.0": "optimizer.lr must be above 0, got -1.0",
    "teacher=nowhere": "teacher=nowhere: there is no such folder",
    "encoder.pretrained=123": "encoder.pretrained must be a folder or a hub's name, got 123",
    "study=../x": "study must be a plain name, got '../x'",
    "+trainer.max_time=00:00:00:01": "trainer.max_time is not an option here",
    "trainer.precision=16-mixed": "trainer.precision must be 32-true or bf16-mixed",
    "+trainer.accumulate_grad_batches=2": "trainer.accumulate_grad_batches must be 1",
    "seed=-1": "seed must be 0 or more, got -1",
}


@pytest.mark.parametrize(("override", "line"), FAULTS.items())
def test_a_fault_is_named(override: str, line: str) -> None:
    faults = train_faults(changed(resolved("model=eat_pruned"), override))
    assert any(fault.startswith(line) for fault in faults), faults


def changed(config: dict, override: str) -> dict:
    """Set what an override sets, in a config that is composed once for all of them."""
    key, _, value = override.lstrip("+").partition("=")
    *path, name = key.split(".")
    node = config
    for part in path:
        node = node.setdefault(part, {})
    node[name] = yaml.safe_load(value)
    return config


def test_heads_at_all_layers() -> None:
    """Every layer but the last, which always has one; exit rules look there."""
    config = resolved(
        *("encoder=tiny", "data=toy", "head.layers=all", "reduction=none", "exit=confidence"),
        "encoder.num_layers=3",
    )
    assert config["head"]["layers"] == config["exit"]["layers"] == [1, 2]
    assert train_faults(config) == []


def test_faults_of_heads_at_all_layers() -> None:
    faults = train_faults(resolved("model=eat", "head.layers=every"))
    assert "head.layers must be a list, got 'every'" in faults
    faults = train_faults(resolved("encoder=tiny", "head.layers=all", "encoder.num_layers=x"))
    assert "encoder.num_layers must be a whole number, got 'x'" in faults


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["head=attention", "exit=berxit"], "exit: LearningToExit learns from vectors of the enc"),
        (["+head._target_=mine.Head"], "head._target_ is not an option: a head is named"),
        (["objective=sandwich", "reduction=none"], "objective=sandwich varies a reduction, and"),
        (["objective=sweet", "objective.distill=1"], "objective needs a teacher: give teacher="),
        (
            ["schedule=two_stage", "schedule.backbone_share=0", "encoder=tiny"],
            "schedule.backbone_share=0 is for a tuned model: encoder.pretrained must be the mode",
        ),
    ],
)
def test_a_fault_of_heads_objectives_and_schedules_is_named(
    overrides: list[str], line: str
) -> None:
    (fault,) = train_faults(resolved("model=eat_pruned", *overrides))
    assert fault.startswith(line)


class Bare:
    """Fills no slot."""


def test_a_class_of_ones_own_must_fill_its_slot() -> None:
    config = resolved("data=toy", "encoder=tiny")
    config["reduction"] = {"_target_": f"{__name__}.Bare"}
    assert train_faults(config) == [
        "reduction._target_: Bare must be a subclass of eat_lightning.model.contracts.Reduction"
    ]


def test_all_faults_come_at_once() -> None:
    wrong = [
        "model=eat_pruned",
        "exit.tau=1.5",
        "reduction.ratio=1.0",
        "encoder.take=last",
        "data.batch_size=0",
    ]
    faults = train_faults(resolved(*wrong, "checkpoint_every=0", "trainer.max_steps=0", "data=toy"))
    assert len(faults) == 6


@pytest.mark.parametrize("task", ["sst2", "mnli"])
def test_rules_that_learn_from_vectors_want_another_head_of_two_texts(task: str) -> None:
    """Matched texts are pooled narrower than the encoder is; one text is not."""
    lines = "\n".join(train_faults(resolved("model=eat_heads", f"task={task}", "exit=cats")))
    assert ("use head=pooled head.pool=mean, or head=pair" in lines) == (task == "mnli")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("encoder.num_heads=3", "encoder.num_heads must divide hidden_size=64, got 3"),
        ("+encoder.hidden_act=swish", "encoder.hidden_act must be one of"),
        ("+encoder.vocab_size=10", "encoder.vocab_size is not an option"),
        (
            "encoder.pretrained=somewhere",
            "encoder.pretrained must be null for an encoder of random",
        ),
    ],
)
def test_faults_of_an_encoder_with_random_weights(override: str, line: str) -> None:
    faults = train_faults(resolved("encoder=tiny", override))
    assert len(faults) == 1
    assert faults[0].startswith(line)


def test_a_folder_that_is_no_body_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    faults = train_faults(resolved(f"encoder.pretrained={tmp_path}", "+encoder.dropout=3"))
    assert len(faults) == 2
    assert "model_type must be one of" in faults[1]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Called:
    """The whole command in this process: its status, standard output and standard error."""
    return lambda *overrides: (called(main, *overrides), *capsys.readouterr())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["exit.tau=1.5", "data=toy", "encoder=tiny"], "exit.tau must be at most 1, got 1.5"),
        (["task=sst3"], "task must be one of banking77, "),
    ],
)
def test_the_command_says_it_in_one_line(overrides: list[str], said: str, command: Called) -> None:
    status, out, err = command(*overrides)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    ("overrides", "end"),
    [
        (["reduction=norm_topk", "reduction.ratoi=1"], ": did you mean reduction.ratio?"),
        (["trainr.max_steps=1"], ": did you mean trainer.max_steps?"),
        (["exit=gap"], "one's own: --config-dir <the folder that has exit/gap.yaml>"),
        (["colour=red"], "colour is not an option: --help-all lists all"),
        (["logger=null"], "logger must be one of csv, tensorboard, wandb, got null"),
        (["a-folder"], "a-folder is not a setting: settings are given as key=value"),
        (["task={a: 1"], "put a value with spaces or brackets into quotes, whole"),
    ],
)
def test_the_nearest_name_is_offered(
    overrides: list[str], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        compose_or_explain("train", overrides)
    assert capsys.readouterr().err.endswith(f"{end}\n")


def test_a_module_of_ones_own_that_is_not_there_stops_no_other_command(
    monkeypatch: pytest.MonkeyPatch, command: Called
) -> None:
    monkeypatch.setenv("EAT_IMPORT", "json,not_here")
    status, _, err = command("seed=x")
    assert status == 1
    warning, error = err.splitlines()
    assert warning.startswith("warning: EAT_IMPORT: there is no module not_here")
    assert error.startswith("error: seed")


def test_a_sweeps_unknown_key_is_one_line_too(command: Called) -> None:
    status, _, err = command("-m", "colour=red", "seed=1,2")
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("error: colour is not an option")


def test_every_fault_of_composing_is_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compose_or_explain("train", ["exit.taw=0.8", "data.bacth_size=8", "head=poold"])
    message = capsys.readouterr().err.splitlines()
    assert [line.rpartition("did you mean ")[2] for line in message] == [
        "pooled?",
        "exit.tau?",
        "data.batch_size?",
    ]


def help_of(name: str) -> CommandHelp:
    return CommandHelp(CONFIGS / f"{name}.yaml", RENAMED.get(name, {}))


HELPS = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]


@pytest.mark.parametrize("name", HELPS)
def test_help_says_how_a_command_is_used_and_what_settings_mean(name: str) -> None:
    lines = help_of(name).short().splitlines()
    assert lines[0].startswith(f"Usage: eat {name} ")
    assert any("--help-all" in line for line in lines)
    assert (len(lines) <= 75, max(map(len, lines)) <= 100) == (True, True)
    important = [setting for setting in help_of(name).settings if not setting.is_rare]
    assert [setting.key for setting in important if not setting.meaning] == []


@pytest.mark.parametrize("name", HELPS)
def test_examples_are_the_same_words_in_bash_and_in_zsh(name: str) -> None:
    """What a shell would expand is quoted."""
    for line in help_of(name).words.examples.splitlines():
        unquoted = re.sub("'[^']*'|\"[^\"]*\"", "", line)
        assert not set("[]{}()?*#!") & set(unquoted), line


def test_help_all_lists_choices_and_the_settings_of_those_that_are_chosen(
    command: Called,
) -> None:
    short, whole = help_of("train").short(), command("exit=patience", "--help-all")[1]
    assert "eat train task=sst2" in short
    assert "bert, distilbert, eat" not in short
    assert "model       bert, distilbert, eat" in whole
    assert "exit.patience" in whole
    assert "optimizer.weight_decay  weight decay of matrices" in whole


def test_settings_are_named_as_they_are_typed() -> None:
    keys = [setting.key for setting in help_of("adapt").settings]
    assert keys[:3] == ["model", "texts", "to"]
    assert "classifier" not in keys
    assert {"windows.overlap", "heads.lr"} <= {*keys}


def test_every_setting_of_a_yaml_is_found() -> None:
    for name in HELPS:
        config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text("utf-8"))
        own = [*dotted_keys(OmegaConf.create({**config, "defaults": None, "hydra": None}))]
        found = {setting.key for setting in CommandHelp(CONFIGS / f"{name}.yaml", {}).settings}
        groups = {key.rpartition(".")[0] for key in own}
        assert {*own} - found - groups - {"defaults", "hydra"} == set(), name


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--model x --to=y agree=0.9", "model=x to=y agree=0.9"),
        ("--max-length 128 --exit.tau 0.8", "max_length=128 exit.tau=0.8"),
        ("--heads.enabled --texts a", "heads.enabled=true texts=a"),
        ("--heads.enabled false a=b", "heads.enabled=false a=b"),
        ("--json model=x", "json=true model=x"),
        ("--text --to y", "text=true to=y"),
        ("-m --run x --cfg job --config-dir z", "-m run=x --cfg job --config-dir z"),
    ],
)
def test_flags_are_settings(typed: str, words: str) -> None:
    switches = help_of("adapt").switches
    assert as_settings(typed.split(), switches) == words.split()


def test_a_renamed_setting_is_the_neighbour_of_what_is_misspelt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        compose_or_explain("adapt", ["modle=x"], renamed={"model": "classifier"})
    assert capsys.readouterr().err == "error: modle is not an option: did you mean model?\n"


def test_json_leaves_standard_output_to_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    def work(config: dict[str, Any]) -> dict[str, Any]:
        print("a table")
        return {"seed": config["seed"]}

    for word in ("--json", "format=json"):
        assert called(Command("train", work, summary=dict), word, "seed=3") == 0
        out, err = capsys.readouterr()
        assert (json.loads(out), err) == ({"seed": 3}, "a table\n")


def test_a_trial_is_smaller_and_lists_keep_their_number() -> None:
    texts = as_trial(resolved("quick=true", name="adapt"))
    assert (texts["most"], texts["engines"], texts["times"]["repeats"]) == (2000, ["onnx"], 1)
    assert as_trial(resolved("quick=true", "most=500", name="adapt"))["most"] == 500
    lists = as_trial(resolved("quick=true", name="rerank"))
    assert (lists["least_steps"], lists["times"]) == (60, {"repeats": 1})
    usual = resolved(name="adapt")
    assert as_trial(usual) == {key: usual[key] for key in usual if key != "quick"}
