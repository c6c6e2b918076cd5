"""The answers, certificates and rows of exported graphs."""

import subprocess
import sys
from pathlib import Path

import pytest
from golden import inputs, reading, small_models
from golden.asking import UNTIMED, command, predicted
from golden.comparing import Golden

pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow
EXPORT = Golden("export")
RULE = ("exit.layers=[1,2]", "exit.tau=[0.7,0.65]")
WINDOWS = ("long=windows", "windows.label=positive", "windows.overlap=8")
ANSWERS = {
    "own": (),
    "one at once": ("batch=1",),
    "veto": ("policy=veto", "policy.veto.margin=0.6"),
    "certificate": ("certificate=harm",),
    "windows": WINDOWS,
    "cut": ("long=cut",),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.trained_run().make(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def export(run: Path) -> Path:
    """Graphs with two exits and pruning, compared with the run on its validation texts, and a
    certificate of them."""
    folder = run.parent / "onnx"
    command("export", f"run={run}", f"to={folder}", *RULE, "check=all", "threads=1")
    certified = "risk=harm", "level=0.015", "name=harm"
    command("certify", f"run={run}", f"onnx={folder}", *certified)
    return folder


def test_the_certificate(export: Path):
    EXPORT.check("certificate", reading.certificate(export / "certificates" / "harm.json"))


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str, export: Path):
    found = predicted(export, inputs.lines(), "backend=onnx", *ANSWERS[name])
    EXPORT.check(f"answers, {name}", found)


def test_answers_without_this_package(export: Path):
    """The export's own runner, which needs neither torch nor this package."""
    given = "".join(f"{line}\n" for line in inputs.lines())
    words = [sys.executable, "-I", str(export / "runner.py"), "--threads", "1"]
    done = subprocess.run(words, input=given, capture_output=True, text=True)
    EXPORT.check("answers, own", reading.answers(reading.lines_of(done.stdout)))


@pytest.mark.data
def test_real_texts(export: Path, data_dir: Path):
    found = predicted(export, inputs.real(data_dir), "backend=onnx", "long=cut")
    EXPORT.check("real texts", found)


def test_rows_in_the_engine(run: Path):
    given = "backend=onnx", "exit.tau=0.7", "exit.layers=[1]", "baselines=none"
    command("measure", f"run={run}", *UNTIMED, *given)
    EXPORT.check("rows", reading.rows(run))
