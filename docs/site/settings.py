"""One page for each command and for each group of choices, made from the yamls."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from docs.site.made import Page
from eat_lightning.command_help import NO_VALUE, CommandHelp, Setting
from eat_lightning.config import CONFIG_DIR

CONFIGS = Path(CONFIG_DIR)
RENAMED = {  # keys as a person types them -> as the yaml has them
    "adapt": {"model": "classifier"},
    "rerank": {"model": "classifier"},
    "verify": {"old": "old.model", "new": "new.model"},
}
FIELD = {  # words that are searched for
    "attention": "sparse and linear attention",
    "exit": "early exit rules",
    "objective": "losses and distillation",
    "reduction": "token pruning and merging",
}


def pages() -> list[Page]:
    commands = [command(path) for path in sorted(CONFIGS.glob("*.yaml"))]
    groups = [group(path) for path in sorted(CONFIGS.iterdir()) if path.is_dir()]
    return [*commands, *groups]


def command(path: Path) -> Page:
    """A command's usage, examples, and settings as its help has them."""
    about = CommandHelp(path, RENAMED.get(path.stem, {}))
    words = about.words
    examples = "\n".join(line.strip() for line in words.examples.splitlines())
    important = [setting for setting in about.settings if not setting.is_rare]
    others = [setting for setting in about.settings if setting.is_rare]
    rest = f"### Rarely changed\n\n{table(others)}" if others else ""
    content = f"""# eat {path.stem}

{as_text(words.purpose)}

```bash
{words.usage.removeprefix("Usage: ")}
```

## Examples

```bash
{examples}
```

{as_text(textwrap.dedent(words.notes))}

## Settings

`key=value` and `--key value` are the same.

{table(important)}

{rest}
"""
    return Page(f"reference/commands/{path.stem}.md", content, f"eat {path.stem}")


def table(settings: Sequence[Setting]) -> str:
    """Settings with their defaults and meanings."""
    lines = [
        f"| `{setting.key}` | {code(setting.default)} | {as_text(setting.meaning)} |"
        for setting in settings
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *lines])


def code(default: str) -> str:
    return "" if default in NO_VALUE else f"`{default}`"


def as_text(said: str) -> str:
    """Text with its placeholders in < > escaped, which HTML would take for tags."""
    return said.replace("<", "&lt;")


def group(folder: Path) -> Page:
    """All choices of a group, each with its yaml."""
    words = f" {FIELD[folder.name]}" if folder.name in FIELD else ""
    parts = [f"# {folder.name}={words}\n"]
    for path in sorted(folder.rglob("*.yaml")):
        choice = path.relative_to(folder).with_suffix("").as_posix()
        title = choice.replace("/", "=") if folder.name == "hydra" else choice
        parts.append(f"## `{title}`\n\n```yaml\n{path.read_text('utf-8').strip()}\n```\n")
    return Page(f"reference/groups/{folder.name}.md", "\n".join(parts), f"{folder.name}=")
