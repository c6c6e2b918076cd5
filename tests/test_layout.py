"""The layout, found and not listed: a method is one class, one yaml at the same path, one test."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from eat_lightning.model.specification import home

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "eat_lightning"
SLOTS = ("attention", "reduction", "exit", "policy", "objective", "risk", "procedure")
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = [ROOT / home(slot).replace(".", "/") for slot in SLOTS]
METHODS = [path for folder in FOLDERS for path in sorted(folder.glob("[!_]*.py"))]
IN_SLOTS = [path for folder in FOLDERS for path in sorted(folder.glob("*.py"))]
CODE = [*MODULES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("experiments/**/*.py")]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "adjustText": "adjusttext",
    "docx": "python-docx",
    "huggingface_hub": "huggingface-hub",
    "hydra": "hydra-core",
    "prometheus_client": "prometheus-client",
    "magic": "python-magic",
    "pptx": "python-pptx",
    "wandb_workspaces": "wandb-workspaces",
    "yaml": "pyyaml",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def classes(path: Path) -> list[str]:
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


def test_methods_were_found():
    assert {path.parent.name for path in METHODS} == set(SLOTS)


@pytest.mark.parametrize("path", METHODS, ids=here)
def test_method_is_one_class(path: Path):
    assert len(classes(path)) == 1


@pytest.mark.parametrize("path", METHODS, ids=here)
def test_method_has_its_yaml(path: Path):
    slot, kind = path.parent.name, path.stem
    yaml = ROOT / "configs" / slot / f"{kind}.yaml"
    assert yaml.is_file(), f"{here(path)} has no {here(yaml)}"
    target = f"_target_: {home(slot)}.{kind}.{classes(path)[0]}"
    assert target in yaml.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", METHODS, ids=here)
def test_method_has_a_test(path: Path):
    name = re.compile(rf"\b{classes(path)[0]}\b|[\"']{path.stem}[\"']")
    tests = (test.read_text(encoding="utf-8") for test in ROOT.glob("tests/**/test_*.py"))
    assert any(map(name.search, tests)), f"no file in tests/ names {classes(path)[0]}"


@pytest.mark.parametrize("path", IN_SLOTS, ids=here)
def test_slots_know_no_framework(path: Path):
    assert not imported(path) & {"hydra", "omegaconf", "lightning", "pytorch_lightning"}


def test_slots_load_without_a_framework():
    """Not through other modules either: a method is used from a plain interpreter."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in METHODS]
    heavy = ("hydra", "omegaconf", "lightning", "transformers", "datasets")
    code = f"import sys, {', '.join(names)}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=here)
def test_module_opens_with_a_docstring(path: Path):
    assert ast.get_docstring(tree(path)) or not tree(path).body


@pytest.mark.parametrize("path", CODE, ids=here)
def test_file_is_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*/claim.py")), ids=here)
def test_claim_imports_none_by_the_repository_s_name(path: Path):
    """In a wheel they lie inside the package, where nothing is called `experiments`: what several
    claims need is in eat_lightning.report."""
    beside = sorted(path.parent.glob("*.py"))
    assert [here(file) for file in beside if "experiments" in imported(file)] == []


@pytest.mark.parametrize("path", MODULES, ids=here)
def test_imports_are_declared(path: Path):
    """What a module imports is a dependency of the package, or of one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.split(r"[^\w-]", line)[0] for lines in wanted for line in lines}
    # `answers` and `sessions` are copies that lie beside an export's runner.
    foreign = imported(path) - sys.stdlib_module_names - {"eat_lightning", "answers", "sessions"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared
