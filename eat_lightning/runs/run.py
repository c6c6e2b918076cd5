"""Run folders: their names, their state (new, partial, finished), and how to open one."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.config import CONFIG_DIR, arguments, binding_faults, make, target
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError, Faults, one_line, reading
from eat_lightning.files import write_json as write_json
from eat_lightning.files import write_text as write_text
from eat_lightning.machine import processor, version_of
from eat_lightning.model.specification import MODEL_SLOTS, Specification, home, rule_learns
from eat_lightning.runs.validate import (
    links_out,
    names_a_class,
    place_faults,
    run_faults,
    target_faults,
)
from eat_lightning.untrusted import json_of, text_of
from eat_lightning.user_modules import sources_of_encoder
from eat_lightning.validation import listed_layers
from eat_lightning.weights.checkpoint import load_model
from eat_lightning.weights.files import BUNDLE, OLD_BUNDLES
from eat_lightning.weights.untrusted import UNFIT, read_config

# Settings that change where or how fast a run goes, or what is measured of it, not its weights.
OUTSIDE_IDENTITY = {"logger", "threads", "checkpoint_every", "study", "measure"}
OUTSIDE = {
    "data": {"dir", "cache_dir", "num_workers"},
    "trainer": {
        *("enable_progress_bar", "log_every_n_steps"),
        *("accelerator", "devices", "num_nodes", "strategy"),  # how many processes, and on what
    },
}
PLACES = {"cpu", "gpu", "ddp"}  # the choices of `trainer` that set nothing else
# Groups that are in a folder's name by themselves, or whose keys are.
NAMED_FIRST = {"task", "model", "seed", "experiment"}
LONGEST_NAME = 100
NOTED = ("lr", "steps", "num_train_examples", "train_seconds", "train_threads")  # when a run ends


def outputs() -> Path:
    return Path(os.environ.get("EAT_OUTPUTS", "outputs"))


def folder_for(config: dict[str, Any], overrides: list[str]) -> Path:
    """Return outputs/<study>/<task>-<model>-s<seed>[-<other overrides>], equal on every machine.

    The name consists of letters, digits, "_", "." and "-", so that it needs no quoting. Overrides
    that are not part of the run's identity are left out. In a long name, keys lose their groups; if
    it is still too long, it is cut and ends in a hash of the whole.
    """
    others = dict(split_override(o) for o in overrides)
    heads, model = config["head"]["layers"], Path(CONFIG_DIR, "model", f"{config['model']}.yaml")
    of_model = read_yaml(model).get("head", {}).get("layers") if model.is_file() else None
    of_model = listed_layers(of_model, config["encoder"].get("num_layers"))
    if "head.layers" not in others and heads not in (None, of_model):
        others["head.layers"] = heads  # an exit rule or an experiment moved them
    if others.get("trainer") in PLACES:
        del others["trainer"]
    named = {key: value for key, value in sorted(others.items()) if is_named(key, config)}
    first = [config["task"]["name"], config["model"], f"s{config['seed']}"]
    name = slug([*first, *(f"{key}-{value}" for key, value in named.items())])
    if len(name) > LONGEST_NAME:
        short = slug([*first, *(f"{key.split('.')[-1]}-{value}" for key, value in named.items())])
        name = f"{short[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return outputs() / str(config["study"]) / name


def slug(parts: Iterable[Any]) -> str:
    """Join the parts by "-", with letters, digits, "_", "." and "-" alone."""
    slugs = (re.sub(r"[^A-Za-z0-9_.]+", "-", str(part)).strip("-") for part in parts)
    return "-".join(filter(None, slugs))


def split_override(override: str) -> tuple[str, str]:
    """Return key and value as a sweep writes them (1e-3 is 0.001). A path is reduced to its last
    name, because its folder differs between machines.
    """
    key, given, _ = override.lstrip("+~").partition("=")
    parsed = OverridesParser.create().parse_override(override)
    value = parsed.get_value_element_as_str().strip("'\"") if given else ""
    value = value.lower() if isinstance(parsed.value(), bool) else value
    return key, folder_name(value) if "/" in value else value


def is_named(key: str, config: dict[str, Any]) -> bool:
    """True if an override's key is part of a folder's name."""
    group, _, inner = key.partition(".")
    if group == "exit":
        decides = exit_identity(config["exit"])
        return inner in decides if inner else bool(decides)
    inside = inner not in OUTSIDE.get(group, ())
    return inside and group not in OUTSIDE_IDENTITY | NAMED_FIRST | {"hydra"}


def exit_identity(exit: dict[str, Any]) -> dict[str, Any]:
    """Return the part of an exit rule that decides weights.

    It is empty for a rule that takes no part in training. For others (with parameters or penalties)
    it is everything except the threshold. A rule that may not be imported is assumed to take part.
    """
    if place_faults("exit", exit):
        return exit
    rule: Any = target(exit)
    if not rule_learns(rule):
        return {}
    knob = rule.knob
    return {key: value for key, value in exit.items() if knob is None or key != knob.name}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config that decides a run's weights."""
    kept = {k: v for k, v in config.items() if k not in OUTSIDE_IDENTITY}
    for group, outside in OUTSIDE.items():
        kept[group] = {k: v for k, v in config[group].items() if k not in outside}
    kept["data"] = {"long": "cut"} | kept["data"]  # as runs were made before it was a key
    kept["exit"] = exit_identity(config["exit"])
    return kept


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested keys to dotted ones."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found


def state_of(folder: Path, config: dict[str, Any]) -> Literal["new", "partial", "finished"]:
    """Return the state of a run's folder.

    Raises:
        ConfigError: naming the keys that differ, if it holds a run with another config.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        return "new"
    try:
        there, wanted = flat(identity(read_yaml(path))), flat(identity(config))
    except (KeyError, AttributeError):
        raise ConfigError(f"{path}: not a run's config") from None
    keys = sorted(k for k in there.keys() | wanted.keys() if there.get(k) != wanted.get(k))
    if keys:
        raise ConfigError(
            f"{folder} holds a run with other settings ({', '.join(keys[:6])}): choose another "
            f"study, or delete the folder{hint_of(there)}"
        )
    return "finished" if (folder / "done.json").is_file() else "partial"


def hint_of(there: dict[str, Any]) -> str:
    """Name the exit rule of an existing run that is not imported; all its settings are compared."""
    rule = str(there.get("exit._target_", ""))
    if not rule or not place_faults("exit", {"_target_": rule}):
        return ""
    return (
        f" ({rule} is not imported here: with EAT_IMPORT={rule.rpartition('.')[0]} it can resume)"
    )


MOST_YAML = 1 << 18  # bytes


class WithoutAliases(yaml.SafeLoader):
    """YAML loader without aliases: the configs have none, and a few could expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*) are not read")
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> dict[str, Any]:
    with reading(path, yaml.YAMLError, RecursionError):
        content = yaml.load(text_of(path, MOST_YAML), WithoutAliases)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a run's config")
    return content


def git_commit() -> str | None:
    """Commit of the package's own checkout, with "+" where files differ from it."""
    home = Path(__file__).parents[2]
    if not (home / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(home), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    head = git("rev-parse", "--short=12", "--verify", "--quiet", "HEAD")
    changed = git("status", "--porcelain", "-uno", "--", "eat_lightning", "configs")
    return head + ("+" if changed else "") if head else None


@cache
def environment() -> dict[str, Any]:
    packages = ("torch", "lightning", "transformers", "datasets", "tokenizers", "hydra-core")
    return {
        "eat_lightning": version_of("eat_lightning"),
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in packages},
        "machine": processor(),
        "platform": platform.platform(),
    }


def provenance() -> dict[str, Any]:
    """Return the machine and the version of the code that measure a row."""
    here = environment()
    commit, version = here["commit"] or "", here["eat_lightning"]
    return {"machine": here["machine"], "commit": commit, "version": version}


def is_clean(commit: str) -> bool:
    """True if the code is exactly that of a commit. A "+" at its end marks changed files."""
    return bool(commit) and not commit.endswith("+")


def named_by(slot: str, node: dict[str, Any] | None) -> Specification | None:
    """Return the method of a config's node without importing it; None where there is none."""
    if not node or not isinstance(node.get("_target_"), str):
        return None
    module = node["_target_"].rpartition(".")[0]
    inside = module.startswith(f"{home(slot)}.")
    kind = module.removeprefix(f"{home(slot)}.") if inside else node["_target_"]
    return Specification(slot, kind, arguments(node))


def folder_name(path: str | Path) -> str:
    """Return the name of a run or backbone: that of its folder, or of the parent if the folder is
    called "model".
    """
    path = Path(path)
    return path.parent.name if path.name == "model" else path.name


def why_no_run(folder: Path) -> str:
    """Explain why a folder without config.yaml is not a run, and what to do."""
    if not folder.exists():
        return "is not a run folder: there is no such folder"
    if any((folder / name).is_file() for name in OLD_BUNDLES):
        return (
            "is a folder of release 0.3, which had another layout: "
            f"eat convert old={folder} to=<new folder> rewrites it"
        )
    if (folder / BUNDLE).is_file():
        return (
            "was written by eat adapt, and this command is for runs of eat train; eat verify run="
            f"{folder} checks an adapted classifier"
        )
    if (folder / "config.json").is_file():
        return (
            "is not a run folder but a model of transformers: "
            f"eat adapt model={folder} texts=... to=adapted makes one of it"
        )
    return "is not a run folder (no config.yaml in it): give one that eat train or eat adapt wrote"


@dataclass
class Run:
    """A finished run: its folder, its resolved config and the facts recorded at its end."""

    folder: Path
    config: dict[str, Any]
    done: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open the folder of a finished run.

        Raises:
            ConfigError: for any other folder, and for invalid files.
        """
        folder = Path(path)
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"run={path} {why_no_run(folder)}")
        if not (folder / "done.json").is_file():
            raise ConfigError(
                f"run={path} is not finished: train it to its end (the same command resumes)"
            )
        Faults(links_out(folder)).check()
        try:
            done = json_of(folder / "done.json")
        except (ValueError, OSError):
            raise ConfigError(
                f"{folder / 'done.json'}: cannot be read; train the run again"
            ) from None
        config = read_yaml(folder / "config.yaml")
        Faults(f"{folder}: {one_line(fault)}" for fault in run_faults(config, done)).check()
        return cls(folder, config, done)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> Any:
        node = self.config.get("task") or {}
        Faults(target_faults("task", node)).check()
        return make(node)

    @property
    def training(self) -> dict[str, Any]:
        """Return how the weights were trained, as fields of a row.

        `teacher` is the name of its folder. Facts that a run did not record are None.
        """
        noted = {key: self.done.get(key) for key in NOTED}
        slots = {s: named_by(s, self.config.get(s)) for s in ("objective", "schedule")}
        teacher = self.config.get("teacher")
        return noted | slots | {"teacher": None if teacher is None else folder_name(teacher)}

    def model(self) -> tuple[Any, list[str]]:
        """Load the encoder in evaluation mode, and its label names. Your own classes must be
        imported, or named in EAT_IMPORT.

        Raises:
            ConfigError: for invalid files.
        """
        for slot in MODEL_SLOTS:
            if names_a_class(node := self.config.get(slot) or {}):
                target(node)
        encoder, labels = load_model(self.folder / "model")
        now = sources_of_encoder(encoder)
        for name, then in (self.done.get("sources") or {}).items():
            if now.get(name, then) != then:
                print(f"warning: {name} was edited since {self.name} was trained", file=sys.stderr)
        return encoder, labels

    def tokenizer(self) -> Any:
        """Load its tokenizer (transformers).

        Raises:
            ConfigError: where the tokenizer has ids that the encoder lacks.
        """
        tokenizer = tokenizer_for(str(self.folder / "model"))
        largest = max(tokenizer.get_vocab().values(), default=-1)
        if largest >= (known := self.model_config()["vocab_size"]):
            raise ConfigError(
                f"{self.folder / 'model'}: its tokenizer has id {largest}, the encoder {known} ids"
            )
        return tokenizer

    def model_config(self) -> dict[str, Any]:
        """Its model's config.json, with a specification for each method of `MODEL_SLOTS`."""
        config = read_config(self.folder / "model")
        if config["model_type"] != "eat":
            raise ConfigError(f"{self.folder / 'model'}: {UNFIT} (model_type must be eat)")
        methods = {slot: Specification.read(slot, config[slot]) for slot in MODEL_SLOTS}
        return {"max_positions": 512, "position_offset": 0} | config | methods

    @property
    def kind(self) -> AnswerKind:
        """The kind of its answers, from its model's config.json."""
        model = self.model_config()
        return kind_of(model, len(model["id2label"]))

    def data(self, **changes: Any) -> Any:
        """Create its DataModule, not yet set up.

        Args:
            changes: settings to override, such as dir.
        """
        node = self.config.get("data") or {}
        Faults(target_faults("data", node) or binding_faults("data", node)).check()
        node = node | {k: v for k, v in changes.items() if v is not None}
        data = make(node, task=self.task, tokenizer=self.tokenizer())
        model = self.model_config()
        data.max_length = min(data.max_length, model["max_positions"] - model["position_offset"])
        return data


def open_runs(runs: str | list[str]) -> list[Run]:
    """Open runs by folder; a study's folder yields all its finished runs."""
    found: list[Run] = []
    for path in [runs] if isinstance(runs, str) else runs:
        inside = sorted(p.parent for p in Path(path).glob("*/done.json"))
        found += [Run.open(p) for p in inside] if inside else [Run.open(path)]
    return found
