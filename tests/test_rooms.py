"""The rooms: imports point down their list, never up, and no two files know each other, wherever in
a file an import stands. A module's path in a string counts as an import of it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "eat_lightning"
ROOMS = [  # from the ground up; a room knows only those before it
    *("errors", "validation", "files", "user_modules", "progress", "untrusted"),
    *("answer_kind", "config", "machine"),
    *("process", "overrides", "composing", "command_help", "cli"),
    *("model", "text_io", "long_texts", "methods", "weights", "data"),
    *("record", "runs", "track", "bundle", "monitor"),
    *("evaluation", "report", "train", "new"),
    *("deploy.predict", "deploy.score", "deploy.certify", "deploy.drift", "deploy.serve"),
    *("deploy.adapt", "deploy.rerank", "deploy.verify", "deploy.convert"),
    # What `python -m` runs. No room imports them, since `eat_lightning.adapt` is a function.
    *("adapt", "certify", "convert", "drift", "export", "measure", "predict", "rerank"),
    *("score", "serve", "verify", "__main__"),
]
WINGS = {"deploy"}  # folders of rooms
FILES = {  # by module name; a package is its __init__
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
PUBLIC = "eat_lightning"  # the public API, which stands above all rooms
MODULE = re.compile(r"eat_lightning(\.\w+)+")
# Kinds of methods are found by their names, and this is the one place that knows where they lie.
BY_NAME = {("model.specification", "methods")}


def room(module: str) -> str:
    """The room of a module: "deploy.serve" of "eat_lightning.deploy.serve.app"."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[0] in WINGS else parts[0]


@cache
def parts(module: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8")))]


@cache
def imported(module: str) -> list[tuple[int, str, str]]:
    """(line, name here, full name) of each import from the package, whether it names a file or what
    is in one."""
    found = []
    for node in parts(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            found += [(node.lineno, a.asname or a.name, f"{within}{a.name}") for a in node.names]
    return [each for each in found if each[2].startswith("eat_lightning.")]


@cache
def defined_in(name: str) -> str:
    """The file that defines a name: of what a package's __init__ imports from elsewhere, at once or
    when it is asked for, the file that it comes from."""
    module = name
    while module not in FILES:
        module = module.rpartition(".")[0]
    attribute = name.removeprefix(module).removeprefix(".").partition(".")[0]
    known = {here: full for _, here, full in imported(module)} if is_package(module) else {}
    return defined_in(known[attribute]) if attribute in known else module


def is_package(module: str) -> bool:
    return FILES[module].name == "__init__.py"


def named(module: str) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of each string that is the path of a module, or begins with one that is
    filled in, and of each relative one that is imported."""
    package = module if is_package(module) else module.rpartition(".")[0]
    for node in parts(module):
        match node:
            case ast.Constant(value=str(text)) if MODULE.fullmatch(text.rstrip(".")):
                yield node.lineno, text.rstrip(".")
            case ast.Call(
                func=ast.Name("import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(text)), *_],
            ) if text.startswith("."):
                yield node.lineno, resolve_name(text, package)


def arrows() -> set[tuple[str, int, str]]:
    """(module, line, room) of each other room that a file imports or names."""
    found = {
        (module, line, room(name))
        for module in FILES.keys() - {PUBLIC}
        for line, name in [
            *((line, defined_in(name)) for line, _, name in imported(module)),
            *named(module),
        ]
        if name != PUBLIC
    }
    return {arrow for arrow in found if arrow[2] != room(arrow[0])}


def files() -> dict[str, set[str]]:
    """The files that each imports."""
    return {
        module: {defined_in(name) for _, _, name in imported(module)} - {module, PUBLIC}
        for module in FILES.keys() - {PUBLIC}
    }


def test_every_room_is_in_the_list():
    rooms = {room(module) for module in FILES.keys() - {PUBLIC, *(f"{PUBLIC}.{w}" for w in WINGS)}}
    assert rooms - {"configs"} == set(ROOMS)


def test_imports_point_down():
    """So the core imports nothing from deploy/, which stands above all of it."""
    up = [
        f"{module}:{line} -> {target}"
        for module, line, target in sorted(arrows())
        if ROOMS.index(target) > ROOMS.index(room(module))
        if (module.removeprefix(f"{PUBLIC}."), target) not in BY_NAME
    ]
    assert not up, "\n".join(up)


def test_no_two_files_know_each_other():
    """Nor three in a circle, though one of the imports be only for types."""
    assert len(list(TopologicalSorter(files()).static_order())) > 100  # CycleError names it
