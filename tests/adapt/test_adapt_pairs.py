"""A classifier of two texts, adapted."""

from pathlib import Path

import pytest
from helpers.adapting import made_up_times
from helpers.classifiers import drawn_texts

import eat_lightning
from eat_lightning.deploy.adapt import search
from eat_lightning.weights.exits import exits_beside

FEW = {"epochs": [2]}, {"examples": 2, "repeats": 1}


def test_two_texts_leave_by_how_their_tokens_match(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "time_all", made_up_times)
    pairs = list(zip(drawn_texts(500, seed=1), drawn_texts(500, seed=2), strict=True))
    heads, times = FEW
    found = eat_lightning.adapt(
        classifier, pairs, agree=0.8, heads=heads, least_steps=1, times=times, engines=[]
    )
    found.save(tmp_path / "kept")
    assert exits_beside(tmp_path / "kept")["head"]["kind"] == "aligned"
    together = found.classify(pairs[:40])
    assert min(answer["depth"] for answer in together) < 2
    alone = [found.classify([pair])[0] for pair in pairs[:40]]
    same = [
        (a["label"], a["depth"]) == (b["label"], b["depth"])
        for a, b in zip(alone, together, strict=True)
    ]
    assert sum(same) >= 36  # where bf16 was chosen a batch's rounding moves who is at the threshold
