"""Finished runs that nobody trained, the settings of a command, and what it refuses, for tests."""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.models import tiny
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE
from eat_lightning.config import CONFIG_DIR, make, plain
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.weights.hf_folder import save_run_model

TOY = {"_target_": "eat_lightning.data.toy.ToyData"}


def node_of(task: str) -> dict[str, Any]:
    return yaml.safe_load((Path(CONFIG_DIR) / "task" / f"{task}.yaml").read_text())


def tiny_for(task: str, exit: str, **given: Any) -> AdaptiveEncoder:
    """An encoder for a task and the toy grammar's words."""
    tokenizer = toy_tokenizer()
    given |= {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    return tiny("dense", "norm_topk", exit, len(node_of(task)["labels"]) or 1, **given)


def finish(
    folder: Path,
    encoder: AdaptiveEncoder,
    task: str,
    data: dict,
    done: Any = None,
    /,
    **config: Any,
) -> Path:
    """Write what a finished run is opened by. data: arguments of ToyData, or another's node."""
    node = node_of(task)
    save_run_model(encoder, node["labels"] or ["score"], folder / "model")
    toy_tokenizer().save_pretrained(folder / "model")
    config = {"task": node, "data": TOY | data} | config
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "done.json").write_text(json.dumps(done or {}))
    return folder


def make_run(folder: Path, task: str) -> Path:
    """What `predict` reads of a run."""
    kinds = {MULTI: "every_label", SCORE: "never", SINGLE: "confidence"}
    encoder = tiny_for(task, kinds[make(node_of(task)).kind.problem_type])
    return finish(folder, encoder, task, {"max_length": None})


def config_of(name: str, *overrides: str) -> dict[str, Any]:
    """Compose the settings of a command. The choices are composed once; values are put in
    afterwards, as Hydra itself does it."""
    given = OverridesParser.create().parse_overrides(list(overrides))
    chosen = tuple(each.input_line for each in given if chooses(each.key_or_group))
    config = copy.deepcopy(choices(name, chosen))
    values = [each for each in given if each.input_line not in chosen]
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return plain(config)


def chooses(key: str) -> bool:
    """Tell a group, which has a folder of yamls, from a value."""
    return (Path(CONFIG_DIR) / key).is_dir()


@cache
def choices(name: str, chosen: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(name, overrides=list(chosen))


@contextmanager
def started(*words: str, stdin: Any = None) -> Iterator[None]:
    """The words of a command and its standard input, in this process."""
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = ["eat", *words], stdin or sys.stdin
    try:
        yield
    finally:
        sys.argv, sys.stdin = before


def called(main: Callable[[], Any], *words: str, stdin: Any = None) -> int:
    """The status that a command ends with, in this process."""
    with started(*words, stdin=stdin):
        try:
            return int(bool(main()))
        except SystemExit as ended:
            return int(ended.code or 0)


def refused(
    action: Any, *arguments: Any, error: type[Exception] = ConfigError, **named: Any
) -> str:
    """What is said, in one line that can be printed."""
    with pytest.raises(error) as caught:
        action(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message
