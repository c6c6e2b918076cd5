"""`--help` and `--help-all` of a command, made from its yaml.

A comment behind a setting says what it means, and both show it. Settings above the line
`# Rarely changed` are the important ones, which `--help` lists; `--help-all` lists all of them, the
choices of each group, and the settings of the chosen ones.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

SETTINGS = "Settings, given as key=value or --key value"
RARE = "# Rarely changed"
SETTING = re.compile(r"^( *)(?:- )?([\w/]+):(?: +(.*))?$")
WIDTH, KEYS = 98, 28  # columns of a line, and at most for the keys
NO_VALUE = ("", "null", "{}", "[]")
JSON = "--json      prints one JSON object on standard output, and all else on standard error\n"
END = """\
--help-all  lists every setting and choice
--cfg job   prints the settings as they would be used, and loads nothing
Completion  eval "$(eat -sc install=bash)" lets the tab key complete settings and choices\
"""


@dataclass(frozen=True)
class Setting:
    """One setting of a yaml.

    Args:
        key: as a person types it, such as "exit.tau".
        default: as the yaml has it; "" for a group of settings.
        meaning: the comment behind it.
        is_rare: it stands below `RARE`.
    """

    key: str
    default: str
    meaning: str
    is_rare: bool = False

    @property
    def is_switch(self) -> bool:
        return self.default in ("true", "false")

    @property
    def is_required(self) -> bool:
        return self.meaning.startswith("required")

    def lines(self, width: int) -> list[str]:
        """Key, meaning and default, with the meaning in a column of its own."""
        default = "" if self.default in NO_VALUE else f"(default: {self.default})"
        words = f"{self.meaning} {default}".strip()
        margin = " " * (width + 4)
        lines = textwrap.wrap(words, WIDTH, initial_indent=margin, subsequent_indent=margin)
        if len(self.key) > width:
            return [f"  {self.key}", *lines]
        first = (lines or [""])[0].lstrip()
        return [f"  {self.key:{width}}  {first}".rstrip(), *lines[1:]]


def settings_in(text: str, prefix: str = "") -> Iterator[Setting]:
    """The settings of a yaml, in its order, without those of Hydra.

    Args:
        prefix: in front of every key: the group that the yaml belongs to.
    """
    parents: list[tuple[int, str]] = []
    is_rare = False
    for line in text.partition("\nhydra:\n")[0].splitlines():
        is_rare = is_rare or line == RARE
        body, _, comment = line.partition("  # ")
        found = SETTING.match(body.rstrip())
        if found is None:
            continue
        indent, key, default = len(found[1]), found[2], found[3] or ""
        parents = [parent for parent in parents if parent[0] < indent]
        names = [prefix, *(name for _, name in parents if name != "defaults"), key]
        if default == "":
            parents.append((indent, key))
        if key not in ("defaults", "_target_") and (default or comment):
            yield Setting(".".join(filter(None, names)), readable(default), comment, is_rare)


def readable(default: str) -> str:
    """A default without interpolations: "$PORT, or 8000" of ${oc.env:PORT,8000}."""
    default = re.sub(r"\$\{oc\.env:(\w+),null\}", r"$\1", default)
    return re.sub(r"\$\{oc\.env:(\w+),(\w+)\}", r"$\1, or \2", default)


@dataclass(frozen=True)
class CommandHelp:
    """What a command's yaml says about it.

    Args:
        path: of the yaml. Groups of choices are folders beside it.
        renamed: keys as a person types them -> as the yaml has them.
        has_json: whether the command has `--json`.
    """

    path: Path
    renamed: Mapping[str, str]
    has_json: bool = False

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @property
    def settings(self) -> list[Setting]:
        """Its own settings, named as one types them, and required ones first."""
        typed = {key: name for name, key in self.renamed.items()}
        named: dict[str, Setting] = {}  # a key may stand among the defaults and below them
        for setting in settings_in(self.text):
            named.setdefault(setting.key, replace(setting, key=typed.get(setting.key, setting.key)))
        required = [s for s in named.values() if s.is_required]
        return required + [s for s in named.values() if not s.is_required]

    @property
    def switches(self) -> set[str]:
        """The keys of its settings that are true or false, and `json`."""
        return {"json", *(setting.key for setting in self.settings if setting.is_switch)}

    @property
    def groups(self) -> dict[str, list[str]]:
        """The choices of each group that it takes."""
        named = [entry for entry in yaml.safe_load(self.text)["defaults"] if entry != "_self_"]
        names = [key for entry in named for key in entry if not key.startswith("override ")]
        return {
            name: sorted(path.stem for path in (self.path.parent / name).glob("*.yaml"))
            for name in names
        }

    def short(self) -> str:
        """`--help`: usage, examples and the important settings."""
        important = [setting for setting in self.settings if not setting.is_rare]
        return self.page(listed(SETTINGS, important))

    def whole(self, chosen: Mapping[str, str]) -> str:
        """`--help-all`: every setting and choice.

        Args:
            chosen: a choice of each group.
        """
        parts = [listed(SETTINGS, self.settings)]
        if groups := self.groups:
            choices = [Setting(name, "", ", ".join(names)) for name, names in groups.items()]
            parts.append(listed("Choices, given as group=choice", choices))
        for group, choice in chosen.items():
            path = self.path.parent / group / f"{choice}.yaml"
            text = path.read_text("utf-8") if group in groups and path.is_file() else "# @package"
            if not text.startswith("# @package") and (own := [*settings_in(text, group)]):
                parts.append(listed(f"Settings of {group}={choice}", own))
        return self.page(*parts)

    def page(self, *settings: str) -> str:
        """Usage, purpose, examples, the settings, and then the notes."""
        words, end = self.words, JSON * self.has_json + END
        parts = (words.usage, words.purpose, f"Examples\n{words.examples}", *settings, words.notes)
        return "\n\n".join([*filter(None, parts), end])

    @property
    def words(self) -> Words:
        return Words.of(yaml.safe_load(self.text)["hydra"]["help"])


@dataclass(frozen=True)
class Words:
    """The text of a command's help, as its yaml has it under `hydra.help`.

    Args:
        usage: the line that shows what must be given.
        purpose: a sentence.
        examples: indented lines.
        notes: paragraphs; "" where there are none.
    """

    usage: str
    purpose: str
    examples: str
    notes: str

    @classmethod
    def of(cls, shown: Mapping[str, str]) -> Words:
        usage, _, rest = shown["template"].partition("\n\nExamples\n")
        examples, _, notes = rest.partition("\n\n")
        return cls(usage, shown["header"], examples, notes.strip("\n").replace("$$", "$"))


def listed(title: str, settings: list[Setting]) -> str:
    """Settings below a title, one or more lines each."""
    width = max((len(s.key) for s in settings if len(s.key) <= KEYS), default=0)
    return "\n".join([title, *(line for s in settings for line in s.lines(width))])
