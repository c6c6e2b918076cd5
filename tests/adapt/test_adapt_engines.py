"""Engines as candidates, with a tiny BERT."""

from pathlib import Path

import pytest
from adapting import onnx_is_fastest, plan_of
from classifiers import LABELS

from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt import search
from eat_lightning.engines.adapted import open_adapted

pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow


def test_exits_in_onnxruntime(classifier: Path, texts: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(search, "time_all", onnx_is_fastest)
    given = "engines=[onnx]", "agree=0.8"  # the safest exits must save 0.2 layers to be tried
    made = steps.adapt(plan_of(classifier, texts, tmp_path / "adapted", *given))
    folder = tmp_path / "adapted"
    assert made.chosen.form.engine == "onnx"
    assert made.chosen.point is not None
    backend, split = open_adapted(folder), made.splits["certify"]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    wanted_N = made.original_answers["certify"].argmax(-1)
    changed = sum(a["label"] != LABELS[w] for a, w in zip(answers, wanted_N, strict=True))
    assert changed == made.chosen.tested[0].changed  # type: ignore[index]
