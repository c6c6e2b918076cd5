"""`eat new reduction my_idea`: write a template for a method, with its test."""

from __future__ import annotations

import argparse
import keyword
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

from eat_lightning.errors import ConfigError

TEMPLATES = files("eat_lightning.new") / "templates"
SLOTS = ("attention", "reduction", "exit", "head", "objective", "schedule")
NEXT = """\
written: $files

  pip install pytest
  python -m pytest test_$name.py
  export EAT_IMPORT=$name   # which modules of your own may be imported; several: with commas
  eat train --config-dir configs $slot=$name data=toy encoder=tiny model=eat \\
      optimizer.lr=1e-3 trainer.max_steps=300 study=mine measure.enabled=false
  eat measure run=outputs/mine baselines=all timing.examples=50
  eat report study=outputs/mine"""


def main() -> None:
    """Parse the command line and write the files; an error is one line, with status 1."""
    parser = argparse.ArgumentParser(prog="eat new", description=__doc__)
    parser.add_argument("slot", choices=SLOTS)
    parser.add_argument("name", help="a module's name, such as my_idea")
    parser.add_argument("--to", type=Path, default=Path(), help="the folder (default: this one)")
    given = parser.parse_args()
    try:
        written = write(given.slot, given.name, given.to)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    names = " ".join(str(path) for path in written)
    print(Template(NEXT).substitute(files=names, name=given.name, slot=given.slot))


def write(slot: str, name: str, folder: Path) -> list[Path]:
    """Write `name`.py, its yaml and its test; existing files are not replaced."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigError(f"name must be a module's name such as my_idea, got {name!r}")
    paths = {
        folder / f"{name}.py": f"{slot}.py.txt",
        folder / "configs" / slot / f"{name}.yaml": f"{slot}.yaml",
        folder / f"test_{name}.py": "test.py.txt",
    }
    if there := [path for path in paths if path.exists()]:
        raise ConfigError(f"{there[0]} is there already")
    words = {"name": name, "slot": slot, "class_name": class_name(name)}
    for path, template in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((TEMPLATES / template).read_text("utf-8")).substitute(words))
    return [*paths]


def class_name(name: str) -> str:
    """my_idea -> MyIdea."""
    return "".join(part.capitalize() for part in name.split("_"))


if __name__ == "__main__":
    main()
