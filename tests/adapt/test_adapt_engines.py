"""Engines as candidates, and the graph in the form that others expect, with a tiny BERT."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.adapting import check_reference, plan_of, taken
from helpers.classifiers import LABELS, drawn_texts

from eat_lightning.deploy.adapt import run as steps
from eat_lightning.deploy.adapt import search
from eat_lightning.engines.adapted import open_adapted

pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow


def onnx_is_fastest(candidates: dict[str, Any], **_: Any) -> Any:
    """Static forms of onnxruntime take 4 ms, its exits 1, everything else 10."""
    yield {
        key: taken((1.0 if "exits" in key else 4.0) if "onnx" in key else 10.0)
        for key in candidates
    }


def test_exits_in_onnxruntime(classifier: Path, texts: Path, tmp_path: Path, monkeypatch):
    import onnxruntime
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

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
    check_reference(made)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(drawn_texts(5, seed=3), padding=True, return_tensors="pt")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder)(**inputs).logits
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    feeds = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
    (logits,) = session.run(["logits"], feeds)
    np.testing.assert_allclose(logits, theirs.detach().numpy(), atol=1e-4)
