"""The layout, found and not listed: a method is one class, one yaml at the same path, one test."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

from eat_lightning.model.specification import home

ROOT = Path(__file__).parents[1]
SLOTS = ("attention", "reduction", "exit", "policy", "objective")
MODULES = sorted((ROOT / "eat_lightning").rglob("*.py"))
FOLDERS = [ROOT / home(slot).replace(".", "/") for slot in SLOTS]
METHODS = [path for folder in FOLDERS for path in sorted(folder.glob("[!_]*.py"))]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "docx": "python-docx",
    "google": "protobuf",
    "huggingface_hub": "huggingface-hub",
    "hydra": "hydra-core",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic",
    "magic": "python-magic",
    "pptx": "python-pptx",
    "wandb_workspaces": "wandb-workspaces",
    "yaml": "pyyaml",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def class_names(path: Path) -> list[str]:
    return [node.name for node in tree(path).body if isinstance(node, ast.ClassDef)]


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    return names


def here(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_a_method_is_one_class_with_its_yaml_and_its_test():
    assert {path.parent.name for path in METHODS} == set(SLOTS)
    tests = "\n".join(test.read_text(encoding="utf-8") for test in ROOT.glob("tests/**/test_*.py"))
    words, offenders = {*re.findall(r"\w+", tests)}, []
    for path in METHODS:
        slot, kind, names = path.parent.name, path.stem, class_names(path)
        yaml = ROOT / "configs" / slot / f"{kind}.yaml"
        target = f"_target_: {home(slot)}.{kind}.{names[0]}"
        if len(names) != 1:
            offenders.append(f"{here(path)} has the classes {names}")
        if not yaml.is_file() or target not in yaml.read_text(encoding="utf-8").splitlines():
            offenders.append(f"{here(yaml)} does not say {target}")
        if names[0] not in words and f'"{kind}"' not in tests:
            offenders.append(f"no file in tests/ names {names[0]}")
    assert offenders == []


def test_slots_load_without_a_framework():
    """Not through other modules either: a method is used from a plain interpreter."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in METHODS]
    heavy = ("hydra", "omegaconf", "lightning", "transformers", "datasets")
    code = f"import sys, {', '.join(names)}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_a_module_opens_with_a_docstring():
    bare = [path for path in MODULES if tree(path).body and not ast.get_docstring(tree(path))]
    assert [here(path) for path in bare] == []


def test_imports_are_declared():
    """What a module imports is a dependency of the package, or of one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split(r"[^\w-]", line)[0] for lines in wanted for line in lines}
    # The others are copies that lie beside an export's runner.
    known = sys.stdlib_module_names | {
        "eat_lightning",
        "answer_kind",
        "text_io",
        "sessions",
        "long_texts",
        "eat_trace",
    }
    undeclared = {
        here(path): names
        for path in MODULES
        if (names := {DISTRIBUTIONS.get(n, n) for n in imported(path) - known} - declared)
    }
    assert undeclared == {}
