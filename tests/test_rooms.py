"""The rooms: imports point down their list, never up, and no two files know each other, wherever in
a file an import stands."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eat_lightning"
ROOMS = [  # from the ground up; a room knows only those before it
    *("errors", "validation", "files", "user_modules", "progress"),
    *("answer_kind", "config"),
    *("process", "overrides", "composing", "cli"),
    *("model", "text_io", "long_texts", "methods", "weights", "data"),
    *("record", "infer", "runs", "track", "export", "engines"),
    *("measure", "report", "train", "new"),
    *("deploy.predict", "deploy.score", "deploy.certify", "deploy.drift", "deploy.serve"),
    "deploy.adapt",
    "__main__",
]
WINGS = {"deploy"}  # folders of rooms


def room(module: str) -> str:
    """The room of a module that is named from below the package: "deploy.serve.app"."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in WINGS else parts[0]


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


def arrows() -> set[tuple[str, str, str]]:
    """(file and line, its room, room imported) of each import from another room."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        here = room(module_of(path))
        found |= {
            (f"{path.relative_to(PACKAGE)}:{line}", here, room(name.removeprefix("eat_lightning.")))
            for line, name in imported(path)
        }
    return {arrow for arrow in found if arrow[1] != arrow[2]}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


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
    rooms = {room(module_of(path)) for path in python()}
    assert rooms - {"configs", "experiments"} == set(ROOMS)


def test_imports_point_down():
    """So the core imports nothing from deploy/, which stands above all of it."""
    up = [
        f"{place} -> {target}"
        for place, here, target in sorted(arrows())
        if here != "__init__" and ROOMS.index(target) > ROOMS.index(here)
    ]
    assert not up, "\n".join(up)


def test_no_two_files_know_each_other():
    """Nor three in a circle, though one of the imports be only for types."""
    assert len(list(TopologicalSorter(files()).static_order())) > 100  # CycleError names the circle
