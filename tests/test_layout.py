"""The layout, found and not listed: a method is one class, one yaml at the same path, one test."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

from eat_lightning.model.specification import home

ROOT = Path(__file__).parents[1]
SLOTS = ("attention", "reduction", "exit", "policy", "objective", "risk", "procedure")
MODULES = sorted((ROOT / "eat_lightning").rglob("*.py"))
STUDIES = sorted((ROOT / "experiments").rglob("*.py"))
FOLDERS = [ROOT / home(slot).replace(".", "/") for slot in SLOTS]
METHODS = [path for folder in FOLDERS for path in sorted(folder.glob("[!_]*.py"))]
DISTRIBUTIONS = {
    "PIL": "pillow",
    "adjustText": "adjusttext",
    "docx": "python-docx",
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


def test_a_docstring_begins_with_a_verb_or_a_noun():
    """A sentence that begins with one of these words does not name its subject."""
    first = re.compile(r'\s*"""(What|Whether|Whose|Those|Who|Of)\b')
    offenders = [
        f"{here(path)}:{number}"
        for path in [*MODULES, *STUDIES]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if first.match(line)
    ]
    assert offenders == []


# Parts of names that a search cannot find, since they may stand for anything.
UNUSED = {"own", "asked", "said", "told", "held", "way", "ways", "wish", "reach", "settle"}
UNUSED |= {"settled", "later", "journey", "turned", "body", "bodies"}
HTTP = ROOT / "eat_lightning/deploy/serve"  # a request has a body; an encoder's is a backbone


def names_in(path: Path) -> set[str]:
    """Every name that a module defines or uses."""
    kinds = {"id": ast.Name, "attr": ast.Attribute, "arg": ast.arg | ast.keyword}
    kinds |= {"name": ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias}
    return {
        str(getattr(node, field))
        for node in ast.walk(tree(path))
        for field, kind in kinds.items()
        if isinstance(node, kind)
    }


def test_a_name_is_a_plain_word():
    offenders = {
        here(path): found
        for path in MODULES
        if (unused := UNUSED - ({"body"} if path.is_relative_to(HTTP) else set()))
        and (found := {name for name in names_in(path) if unused & words_of(name)})
    }
    assert offenders == {}


def words_of(name: str) -> set[str]:
    """The words of a name: "own static" of `OWN_STATIC`, `ownStatic` and `OwnStatic`."""
    return {word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}


def test_a_file_is_short():
    files = [*MODULES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("experiments/**/*.py")]
    lines = {here(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: number for path, number in lines.items() if number > 400} == {}


def test_claims_import_none_by_the_repository_s_name():
    """In a wheel they lie inside the package, where nothing is called `experiments`. What several
    claims need lies above them, and is imported as `from ..baselines import ...`. Scripts beside
    them run in a clone alone."""
    folders = [claim.parent for claim in ROOT.glob("experiments/*/claim.py")]
    beside = [path for folder in [ROOT / "experiments", *folders] for path in folder.glob("*.py")]
    offenders = [p for p in beside if "experiments" in imported(p) and not is_script(p)]
    assert [here(path) for path in offenders] == []


def is_script(path: Path) -> bool:
    return "__main__" in path.read_text(encoding="utf-8")


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
    }
    undeclared = {
        here(path): names
        for path in MODULES
        if (names := {DISTRIBUTIONS.get(n, n) for n in imported(path) - known} - declared)
    }
    assert undeclared == {}


def test_a_class_name_stands_once():
    """But on the shelf, where a method's yaml names it with its slot."""
    found = Counter(name for path in MODULES if path not in METHODS for name in class_names(path))
    assert [name for name, count in found.items() if count > 1] == []
