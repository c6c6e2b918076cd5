"""A folder with graphs answers where torch and what goes with it cannot be imported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.exports import shared_export

pytest.importorskip("onnxscript")
ABSENT = "torch", "transformers", "lightning", "datasets", "wandb", "matplotlib", "pandas"
ABSENT += "pyarrow", "torchmetrics", "jaxtyping", "jinja2"
MOST_FILES = 70  # of this package, to answer a line of text
BLOCKED = """
import json, runpy, sys
sys.modules.update(dict.fromkeys({absent}))  # an import of these fails
sys.argv = {words}
try:
    runpy.run_module("eat_lightning", run_name="__main__", alter_sys=True)
finally:
    ours = [name for name in sys.modules if name.partition(".")[0] == "eat_lightning"]
    print(json.dumps(ours), file=sys.stderr)
"""


def answers(*words: str, lines: str) -> tuple[list[dict], list[str]]:
    """What `eat` prints, and the modules of this package that it imports."""
    code = BLOCKED.format(absent=ABSENT, words=["eat", *words])
    run = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()], json.loads(
        run.stderr.splitlines()[-1]
    )


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_export() / "onnx-fp32", tmp_path / "onnx"))


@pytest.mark.parametrize("settings", [(), ("policy=veto", "policy.veto.margin=0.6")])
def test_predict_answers_without_torch(graphs: Path, settings: tuple[str, ...]):
    words = "predict", f"run={graphs}", "backend=onnx", *settings
    found, ours = answers(*words, lines="a good film\nnot good\n")
    assert [answer["label"] in ("negative", "positive") for answer in found] == [True, True]
    assert len(ours) <= MOST_FILES


def test_a_gateways_worker_starts_without_torch(graphs: Path):
    """And shows the guesses of the exits, though not what their rule asks for."""
    code = BLOCKED.partition("sys.argv")[0].format(absent=ABSENT) + SERVED.format(run=str(graphs))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["guesses"]
    assert "threshold" not in answer["guesses"][0]


SERVED = """
from eat_lightning.composing import compose_or_explain
from eat_lightning.config import CONFIG_DIR, parsed, plain
from eat_lightning.deploy.serve import server  # all that the gateway imports
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.dialects import names, opened
from eat_lightning.deploy.serve.model import open_model
from eat_lightning.deploy.serve.plan import ServeSettings
from hydra import compose, initialize_config_dir
for name in names():
    opened(name)
with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
    config = plain(compose("serve", overrides=["run='{run}'", "backend=onnx"]))
model = open_model(parsed(ServeSettings, config))
[(_, [answer])] = model.stream([RequestExample(["a good film"], guesses=True)])
answer.pop("scores")
print(json.dumps(answer))
"""
