"""The rooms: imports point down their list, never up, wherever in a file they stand."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eat_lightning"
ROOMS = [  # from the ground up; a room knows only those before it
    *("errors", "bounds", "files", "own", "progress", "cluster", "answers", "config", "cli"),
    *("model", "methods", "weights", "data", "infer", "runs", "track", "export", "engines"),
    *("measure", "predict", "score", "certify", "report", "attack", "drift", "train", "serve"),
    *("capacity", "bench", "new"),
]


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """What may be an import: whole statements, without the expressions in them."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()):
            yield inner
            yield from statements(inner)


def arrows() -> set[tuple[str, str]]:
    """(file and line, room imported) of each import from another room."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "eat_lightning":
                    names = [f"eat_lightning.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            here = path.relative_to(PACKAGE)
            found |= {
                (f"{here}:{node.lineno}", room(name))
                for name in names
                if name.startswith("eat_lightning.") and room(name) != here.with_suffix("").parts[0]
            }
    return found


def test_every_room_is_in_the_list():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert rooms - {"__init__", "__pycache__", "configs", "experiments"} == set(ROOMS)


def test_imports_point_down():
    up = []
    for place, target in sorted(arrows()):
        file = place.partition(":")[0]
        floor = ROOMS.index(Path(file).with_suffix("").parts[0])
        if ROOMS.index(target) > floor:
            up.append(f"{place} -> {target}")
    assert not up, "\n".join(up)
