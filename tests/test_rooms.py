"""The rooms: imports point down their list, never up, and no two files know each other, wherever in
a file an import stands."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eat_lightning"
ROOMS = [  # from the ground up; a room knows only those before it
    *("errors", "bounds", "files", "own", "progress", "cluster", "answers", "config"),
    *("process", "overrides", "composing", "cli"),
    *("model", "methods", "weights", "data", "infer", "runs", "track", "export", "engines"),
    *("measure", "predict", "score", "certify", "report", "attack", "drift", "train", "serve"),
    *("capacity", "bench", "new", "__main__"),
]


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """What may be an import: whole statements, without the expressions in them."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()):
            yield inner
            yield from statements(inner)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, name) of each import from the package, whether it names a file or what is in one."""
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [f"{within}{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names if name.startswith("eat_lightning."))


def arrows() -> set[tuple[str, str]]:
    """(file and line, room imported) of each import from another room."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE)
        found |= {
            (f"{here}:{line}", room(name))
            for line, name in imported(path)
            if room(name) != here.with_suffix("").parts[0]
        }
    return found


def files() -> dict[str, set[str]]:
    """The files that each imports, by module name."""
    paths = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in python()}
    named = {name: {n for _, n in imported(path)} for name, path in paths.items()}
    return {
        name: {n if n in paths else n.rpartition(".")[0] for n in found} & paths.keys() - {name}
        for name, found in named.items()
    }


def python() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


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


def test_no_two_files_know_each_other():
    """Nor three in a circle, though one of the imports be only for types."""
    assert len(list(TopologicalSorter(files()).static_order())) > 100  # CycleError names the circle
