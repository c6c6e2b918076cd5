"""A folder with graphs answers where torch, and what goes with it, cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.exports import shared_export
from helpers.without_torch import COMMAND, output, predicted

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.runs.run import Run

pytest.importorskip("onnxscript")
MOST_FILES = 70  # of this package, to answer a line of text
LINES = ["a good film", "not a good film, and far too long for what it has to say"]
ROOT = Path(__file__).parents[2]
VETO = ("policy=veto", "policy.veto.margin=0.6")


@pytest.fixture(scope="module")
def run() -> Path:
    return shared_export()


@pytest.fixture(scope="module")
def graphs(run: Path) -> Path:
    return run / "graphs/onnx-fp32"


@pytest.mark.parametrize("policy", [(), VETO])
def test_predict_answers_as_it_does_with_torch(graphs: Path, policy: tuple[str, ...]):
    found, ours = predicted(f"run='{graphs}'", "backend=onnx", *policy, lines=LINES)
    usual = GraphModel(graphs).answer([[line] for line in LINES])
    if not policy:
        assert found == usual
    assert [answer.keys() for answer in found] == [answer.keys() for answer in usual]
    assert len(ours) <= MOST_FILES


def test_what_needs_torch_says_so_in_a_line(run: Path):
    _, err = output(COMMAND, "predict", f"run='{run}'", lines=LINES, status=1)
    assert f"run={run}: a run, or backend=auto, needs torch: pip install " in err


def test_tokens_are_those_of_transformers(run: Path, graphs: Path):
    theirs = Run.open(run).tokenizer()
    ours = GraphModel(graphs).reader([[line] for line in LINES])
    assert [[*each.windows[0].ids] for each in ours] == theirs(LINES)["input_ids"]


GATEWAY = """
import json
from hydra import compose, initialize_config_dir
from eat_lightning.config import CONFIG_DIR, parsed, plain
from eat_lightning.deploy.serve import server  # all that the gateway's process imports
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.dialects import names, opened
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.deploy.serve.plan import ServeSettings

for name in names():
    opened(name)
with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
    config = plain(compose("serve", overrides=sys.argv[1:]))
model = open_model(parsed(ServeSettings, config))
[(_, [answer])] = model.stream([RequestExample(["a good film"], guesses=True)])
print(json.dumps(answer["guesses"]))
"""


def test_a_gateway_serves_and_shows_the_guesses_of_exits(graphs: Path):
    """What their rule asks for is told where torch is, in which rules are written."""
    out, _ = output(GATEWAY, f"run='{graphs}'", "backend=onnx")
    guesses = json.loads(out)
    assert guesses
    assert all("threshold" not in guess for guess in guesses)


@pytest.mark.nightly
def test_an_environment_of_the_short_list_answers(graphs: Path, tmp_path: Path):
    """Made as the container image is: the list of packages, and the wheel without dependencies."""
    pytest.importorskip("build", reason="needs build, from the extra `dev`")
    python, alone = tmp_path / "venv/bin/python", os.environ | {"PYTHONPATH": ""}
    given: dict[str, Any] = {"env": alone, "cwd": tmp_path, "check": True, "text": True}
    wheel = ["-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run([sys.executable, *wheel], **given, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], **given)
    install = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, "-r", ROOT / "requirements-serve.txt"], **given)
    subprocess.run([*install, "--no-deps", *tmp_path.glob("*.whl")], **given)
    words = ["-m", "eat_lightning", "predict", f"run='{graphs}'", "backend=onnx"]
    lines = "".join(f"{line}\n" for line in LINES)
    found = subprocess.run([python, *words], **given, input=lines, capture_output=True).stdout
    answers = list(map(json.loads, found.splitlines()))
    usual = GraphModel(graphs).answer([[line] for line in LINES])
    assert [each["label"] for each in answers] == [each["label"] for each in usual]
    listed = subprocess.run([*install[:3], "list"], **given, capture_output=True).stdout
    assert not {"torch", "transformers", "lightning"} & {*listed.split()}


AGAIN = """
from pathlib import Path
from eat_lightning.bundle.cascade import CascadeModel
from eat_lightning.bundle.graph_model import GraphModel

graphs, texts = Path(sys.argv[1]), [[text] for text in sys.argv[2:]]
first, second = GraphModel(graphs), GraphModel(graphs)
model = CascadeModel(graphs, first, second, least=2.0)  # a margin is at most 1
assert not model.uses_torch
print(*(answer["exit_reason"] for answer in model.answer(texts)))
print(*(answer["exit_reason"] for answer in first.answer(texts)))
"""


def test_graphs_answer_again_what_graphs_are_unsure_of(graphs: Path):
    """The second answers what has run all layers of the first, and leaves early there or not."""
    texts = [line[:end] for line in LINES for end in (1, 6, 12, 40)]
    both, first = output(AGAIN, str(graphs), *texts)[0].splitlines()
    assert "last_layer" in first
    assert both == first.replace("last_layer", "answered_again")
