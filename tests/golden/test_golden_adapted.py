"""What `eat adapt` chooses, certifies and writes, and the answers of what it writes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import inputs, pinned, reading, small_models
from golden.asking import command, predicted
from golden.comparing import Golden
from helpers.classifiers import drawn_texts

import eat_lightning

FEW = ("engines=[]", "heads.epochs=[4]", "least_steps=400", "times.examples=2", "times.repeats=1")


@dataclass(frozen=True)
class Case:
    """A classifier, the settings of its adaptation, and what answers the golden file keeps.

    Args:
        kind: of `CLASSIFIERS`.
        words: settings of `eat adapt`.
        fastest: see `pinned.machine`.
        asked: settings of `eat predict`, by name.
    """

    kind: str
    words: tuple[str, ...]
    fastest: str = "exits"
    asked: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"own": ()})


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "classes": {"labels": ["no", "yes"]},
    "labels": {
        "labels": ["joy", "fear", "anger"],
        "problem_type": "multi_label_classification",
    },
    "scores": {"labels": ["LABEL_0"], "problem_type": "regression"},
    "pairs": {"labels": ["no", "yes"]},
}
WINDOWS = ("max_length=12", "long=windows", "windows.label=yes", "windows.overlap=4", "agree=0.8")
CASES = {
    "classes": Case("classes", ("agree=0.9",), asked={"own": (), "cut": ("long=cut",)}),
    "per class": Case("classes", ("agree=0.8", "per_class={yes:0.85}")),
    "windows": Case("classes", WINDOWS, asked={"own": (), "refused": ("long=refuse",)}),
    "windows, mean": Case("classes", (*WINDOWS, "windows.join=mean")),
    "labels": Case("labels", ("agree=0.8",)),
    "scores": Case("scores", ("agree=0.7", "tolerance=1.02")),
    "cuts": Case("scores", ("agree=0.7", "cuts=[0.2]")),
    "pairs": Case("pairs", ("agree=0.8", "columns=[premise,hypothesis]")),
    "cascade": Case("classes", ("agree=0.8", "heads.enabled=false"), fastest="cascade"),
}


REAL = ("classes", "windows", "labels", "scores", "cascade")
QUICK = "classes"


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in CASES],
)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def adapted(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    case, root = CASES[name], tmp_path_factory.mktemp("adapted")
    model = small_models.save_classifier(root / "model", **CLASSIFIERS[case.kind])
    given = [f"model={model}", f"texts={texts_for(name, root)}", f"to={root / 'to'}"]
    if name == "cascade":
        first = small_models.save_classifier(root / "small", **CLASSIFIERS[case.kind], num_layers=1)
        given.append(f"small={first}")
    with pinned.machine(case.kind, case.fastest, trains=name == case.kind):
        command("adapt", *given, *FEW, *case.words)
    return root / "to"


def texts_for(name: str, root: Path) -> Path:
    """A file of texts without labels."""
    path = root / "texts.jsonl"
    columns = ("premise", "hypothesis") if name == "pairs" else ("text",)
    texts = [drawn_texts(700, seed=seed) for seed, _ in enumerate(columns)]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*texts, strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_what_is_written(name: str, adapted: Path):
    Golden("adapted").check(name, reading.adapted(adapted))


def test_answers(name: str, adapted: Path):
    lines = inputs.pairs() if name == "pairs" else inputs.lines()
    for asked, words in CASES[name].asked.items():
        Golden("adapted").check(f"{name}, {asked}", predicted(adapted, lines, *words))


def test_answers_in_python(name: str, adapted: Path):
    if name != QUICK:
        pytest.skip("one classifier is enough")
    found = eat_lightning.load(adapted).classify(drawn_texts(20, seed=6))
    Golden("adapted").check(f"{name}, Python", reading.answers(found))


@pytest.mark.data
def test_real_texts(name: str, adapted: Path, data_dir: Path):
    if name not in REAL:
        pytest.skip("the texts of the test above are enough")
    words = () if name == "windows" else ("long=cut",)
    found = predicted(adapted, inputs.real(data_dir), *words)
    Golden("adapted").check(f"{name}, real texts", found)


@pytest.mark.filterwarnings("ignore:.* has no exits")  # a cascade's large model may have none
def test_the_hugging_face_class(name: str, adapted: Path):
    """It reads what fits. A cascade's folder is the large model there."""
    from transformers import AutoTokenizer

    from eat_lightning.bundle.hf import EatForSequenceClassification

    model = EatForSequenceClassification.from_pretrained(adapted)
    tokenizer = AutoTokenizer.from_pretrained(adapted)
    columns = [drawn_texts(30, seed=7), drawn_texts(30, seed=8)][: 2 if name == "pairs" else 1]
    with torch.inference_mode():
        found = model(**tokenizer(*columns, padding=True, return_tensors="pt"))
    Golden("adapted").check(f"{name}, Hugging Face", reading.output(found))
