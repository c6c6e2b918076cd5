"""Words of a command line, as Hydra takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from eat_lightning.config import CONFIG_DIR

METHODS = ("attention", "reduction", "exit", "objective", "schedule")
# Keys of a path, a name or a text, which may have commas.
WHOLE = {"run", "to", "output", "against", "texts", "queries", "classifier", "small", "title"}
WHOLE |= {"old.model", "new.model"}
# Of Hydra, and `--help-all`; every other --key is a setting. Hydra's `--run` does nothing.
FLAGS = {
    *("--help", "--help-all", "--hydra-help", "--version", "--cfg", "--resolve", "--package"),
    *("--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir"),
    *("--experimental-rerun", "--info"),
}
TYPED = re.compile(r"--([A-Za-z][\w./-]*)(?:=(.*))?", re.DOTALL)
NO_NAMES: Mapping[str, str] = MappingProxyType({})
PLAIN = re.compile(r"[\w./:+-]*", re.ASCII)  # no character of Hydra's grammar


def for_hydra(
    words: list[str],
    many: str | None = None,
    sweeps: bool = False,
    renamed: Mapping[str, str] = NO_NAMES,
) -> list[str]:
    """Rewrite a command's words: paths quoted, overrides before flags.

    Args:
        words: those that a person typed, each setting as key=value.
        many: a key of paths that may be given several times.
        sweeps: settings of methods may be absent from some of the models.
        renamed: keys as a person types them -> as the yaml has them.
    """
    typed = [word.partition("=") for word in words]
    words = ["".join((renamed.get(key, key), *rest)) for key, *rest in typed]
    words = [with_path_quoted(word) for word in (with_paths_listed(words, many) if many else words)]
    words = [with_key_added(word) for word in words] if sweeps else words
    given, _ = get_args_parser().parse_known_intermixed_args(words)
    return [*given.overrides, *(word for word in words if word not in given.overrides)]


def as_settings(words: list[str], switches: Collection[str] = ()) -> list[str]:
    """Rewrite `--key value` and `--key=value` as `key=value`; flags of Hydra stay.

    Args:
        switches: keys that are true or false. Alone, `--key` sets one of them to true.
    """
    left, found = list(words), []
    while left:
        word = left.pop(0)
        match = TYPED.fullmatch(word)
        if match is None or match[0].partition("=")[0] in FLAGS:
            found.append(word)
            continue
        key, value = match[1].replace("-", "_"), match[2]
        if value is None:
            value = left.pop(0) if takes_next(key, left, switches) else "true"
        found.append(f"{key}={value}")
    return found


def takes_next(key: str, left: list[str], switches: Collection[str]) -> bool:
    """Whether the next word is the value of `--key`."""
    if not left or left[0].startswith("--"):
        return False
    return key not in switches or left[0] in ("true", "false")


def quoted(path: str) -> str:
    """Make a path one value of Hydra's, whose grammar has commas, brackets and spaces."""
    return "'" + path.replace("'", "\\'") + "'"


def with_path_quoted(word: str) -> str:
    """Quote the value of keys in WHOLE, and of other keys a path that exists."""
    key, _, value = word.partition("=")
    if not value or value[0] in "'\"[" or key.startswith("-"):
        return word
    is_path = key in WHOLE or (not PLAIN.fullmatch(value) and os.path.exists(value))
    return f"{key}={quoted(value)}" if is_path else word


def with_paths_listed(words: list[str], key: str) -> list[str]:
    """Join all `key=<path>` into one `key=[<path>,<path>]`, after the other words."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
    paths = [quoted(path) for value in values for path in paths_in(value)]
    others = [word for word in words if not word.startswith(f"{key}=")]
    return [*others, f"{key}=[{','.join(paths)}]"] if paths else words


def paths_in(value: str) -> list[str]:
    """Split "[a,b]" into paths: a comma ends one only where a file has that name."""
    if not (value.startswith("[") and value.endswith("]")) or os.path.exists(value):
        return [value.strip("'\"")]
    paths, path = [], ""
    for piece in value[1:-1].split(","):
        path = f"{path},{piece}" if path else piece.strip()
        if os.path.exists(path.strip("'\" ")):
            paths.append(path.strip("'\" "))
            path = ""
    return [*paths, path] if path else paths


def with_key_added(word: str) -> str:
    """Prefix a setting of a method (exit.tau=0.9) with Hydra's "++".

    In a sweep over models some may lack it. Hydra would refuse them all; the command names the one.
    """
    slot, _, name = word.partition("=")[0].partition(".")
    shelf = Path(CONFIG_DIR, slot).glob("*.yaml") if slot in METHODS and name else ()
    key = re.compile(rf"^{re.escape(name)}:", re.MULTILINE)
    return f"++{word}" if any(key.search(yaml.read_text("utf-8")) for yaml in shelf) else word


def first_of_sweep(overrides: list[str]) -> list[str]:
    """Take the first value of each override of a sweep."""
    single = []
    for override in OverridesParser.create().parse_overrides(overrides):
        value, key = override.value(), override.get_key_element()
        if isinstance(value, IntervalSweep):  # a search between two ends
            single.append(f"{key}={value.start}")
        elif override.is_sweep_override():
            single.append(f"{key}={next(override.sweep_string_iterator())}")
        else:
            single.append(str(override.input_line))
    return single
