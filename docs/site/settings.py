"""One page for each command and for each group of choices, made from the yamls."""

from __future__ import annotations

from pathlib import Path

import yaml

from docs.site.made import Page
from eat_lightning.config import CONFIG_DIR

CONFIGS = Path(CONFIG_DIR)
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
    """A command's purpose, examples, and settings with the comments of its yaml."""
    text = path.read_text("utf-8")
    own, _, _ = text.partition("\nhydra:\n")
    own = own.replace("classifier: null  # given as model=:", "model: null  #")
    shown = yaml.safe_load(text).get("hydra", {}).get("help", {})
    _, _, examples = shown.get("template", "").partition("Examples\n")
    examples, _, rest = examples.partition("\n\n")
    notes = rest.partition("${hydra.help.footer}")[0].replace("$$", "$")
    shown_examples = "\n".join(line.strip() for line in examples.splitlines())
    content = f"""# {path.stem}

`eat {path.stem}`: {as_text(shown.get("header", ""))}

## Examples

```bash
{shown_examples}
```

{paragraphs(notes)}

## Settings

```yaml
{own.strip()}
```
"""
    return Page(f"reference/commands/{path.stem}.md", content, path.stem)


def paragraphs(notes: str) -> str:
    """Help text as Markdown; indented lines are commands."""
    found = []
    for part in notes.strip("\n").split("\n\n"):
        indented = all(line.startswith("  ") for line in part.splitlines() if line)
        is_code = any(word in part for word in ("python -m ", "  eat ", "curl "))
        plain = "\n".join(line.strip() for line in part.splitlines())
        body = plain if indented or not is_code else part
        found.append(f"```bash\n{body}\n```" if is_code else as_text(body))
    return "\n\n".join(found)


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
