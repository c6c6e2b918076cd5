"""Certificates of long texts in windows: texts are counted, as the model that is held to the
certificate answers them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.certificates import config_of
from helpers.exports import shared_export
from helpers.finished import refused

from eat_lightning.config import parsed
from eat_lightning.deploy.certify.command import certify
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.runs.run import Run

pytest.importorskip("onnxscript")
WINDOWS = ("long=windows", "windows.size=9", "windows.overlap=3", "windows.label=negative")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run = Path(shutil.copytree(shared_export(), folder / "run"))
    (run / "graphs/onnx-fp32").rename(folder / "onnx")
    return folder


@pytest.mark.parametrize("model", ["run", pytest.param("onnx", marks=pytest.mark.slow)])
def test_what_is_certified_is_what_is_answered(runs: Path, model: str):
    export = [f"onnx='{runs / model}'"] if model == "onnx" else []
    given = "risk=harm", "level=0.4", *export, *WINDOWS
    certificate = certify(config_of("certify", runs / "run", *given))
    assert not certificate.fallback

    def opened(*words: str) -> list[dict]:
        engine = "onnx" if export else "torch"
        settings = f"backend={engine}", "prepack=null", *words
        config = config_of("predict", runs / model, *settings)
        split = Run.open(runs / "run").data().split("certificate")
        texts = [list(split.text(i)) for i in range(len(split))]
        return parsed(PredictSettings, config).open().answer(texts)

    answers = opened(*WINDOWS, f"certificate={certificate.name}")
    assert certificate.seen["num_examples"] == len(answers)
    assert {answer["windows"] for answer in answers} > {1, 2}
    assert certificate.seen["depth"] == pytest.approx(np.mean([a["depth"] for a in answers]))
    assert min(answer["depth"] for answer in answers) < 3
    assert certificate.seen["flops_ratio"] < certificate.seen["full_flops_ratio"]
    message = refused(opened, f"certificate={certificate.name}")
    assert "windows (of 9 tokens, 3 shared, any of negative there" in message
