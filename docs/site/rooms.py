"""The rooms of the package, from the ground up, each with the first sentence of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

from docs.site.made import ROOT

PLACE = "<!-- rooms -->"  # where a page shows them


def table() -> str:
    lines = [f"| `{name}` | {summary(file_of(name))} |" for name in order()]
    return "\n".join(["| room | what is in it |", "|---|---|", *lines])


def order() -> list[str]:
    """The list that `tests/test_rooms.py` holds the imports to."""
    tree = ast.parse((ROOT / "tests/test_rooms.py").read_text("utf-8"))
    named = next(n for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "ROOMS")  # type: ignore[attr-defined]
    names = [node for node in ast.walk(named.value) if isinstance(node, ast.Constant)]
    return [str(node.value) for node in sorted(names, key=lambda n: (n.lineno, n.col_offset))]


def file_of(name: str) -> Path:
    path = ROOT / "eat_lightning" / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def summary(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    first = docstring.partition("\n\n")[0].replace("\n", " ")
    return first.partition(". ")[0].replace("|", "\\|").rstrip(".")
