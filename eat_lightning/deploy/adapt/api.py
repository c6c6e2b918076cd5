"""`eat_lightning.adapt` and `eat_lightning.adapt_reranker`: the commands from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

import yaml

from eat_lightning.bundle.model import Model
from eat_lightning.bundle.open import load_folder
from eat_lightning.config import CONFIG_DIR
from eat_lightning.data.unlabelled import usual_columns
from eat_lightning.deploy.adapt import run
from eat_lightning.deploy.adapt.list_run import adapt_lists
from eat_lightning.deploy.adapt.plan import A_LIST, AdaptSettings, ListSettings
from eat_lightning.errors import ConfigError

GROUPS = {"heads", "times", "windows"}  # settings that have keys
SOURCES = {"texts", "queries"}


def adapt(given: Mapping[str, Any]) -> Model:
    """Do the work of `eat_lightning.adapt`, whose arguments are `given`."""
    texts = examples(given["texts"])

    def work(config: dict[str, Any]) -> None:
        run.adapt(AdaptSettings.of(config), texts)

    named = given
    if texts is not None:
        columns = given.get("columns") or usual_columns(texts)
        named = {**given, "texts": texts, "columns": columns}
    return written("adapt", named, work)


def adapt_reranker(given: Mapping[str, Any]) -> Model:
    """Do the work of `eat_lightning.adapt_reranker`, whose arguments are `given`."""
    lists = examples(given["queries"])

    def work(config: dict[str, Any]) -> None:
        adapt_lists(ListSettings.of(config), lists)

    named = given if lists is None else {**given, "queries": lists}
    return written("rerank", named, work)


def written(
    command: str,
    given: Mapping[str, Any],
    work: Callable[[dict[str, Any]], None],
) -> Model:
    """Let `work` write a folder, and open it. The folder is temporary where `to` is None.

    ValueError, in one line, for wrong arguments and for what cannot be adapted.
    """
    with ExitStack() as temporary:
        to = given["to"]
        if to is None:
            folder = TemporaryDirectory(prefix="adapted-", ignore_cleanup_errors=True)
            to = Path(temporary.enter_context(folder), "adapted")
        try:
            work(config_of(command, {**given, "to": to}))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        model = load_folder(to)
        finalize(model, temporary.pop_all().close)
        return model


def config_of(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the settings of a command. A group such as `heads` may lack keys or have None
    for them, and has the yaml's values then; files are named, and lists of examples stand as
    `A_LIST`."""
    usual = yaml.safe_load(Path(CONFIG_DIR, f"{command}.yaml").read_text("utf-8"))
    groups = {key: usual[key] | without_none(given[key] or {}) for key in GROUPS & given.keys()}
    sources = {key: A_LIST for key in SOURCES & given.keys() if examples(given[key]) is not None}
    lists = {key: [*value] for key, value in given.items() if isinstance(value, tuple)}
    named = {key: str(value) for key, value in given.items() if isinstance(value, Path)}
    return {**given, **lists, **named, **groups, **sources}


def without_none(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if value is not None}


def examples(given: Any) -> list[Any] | None:
    """Return the examples of a list; None for a path."""
    return None if given is None or isinstance(given, str | Path) else [*given]
