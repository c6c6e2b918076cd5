"""The curve over levels of agreement: all of them share one scratch folder."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.adapting import BENCH, plan_of
from helpers.classifiers import drawn_texts

from eat_lightning.record.claim import Claim
from experiments.adapt import redraws
from experiments.adapt.levels import at_level, drawn


def test_levels_share_their_passes(classifier: Path, tmp_path: Path):
    shutil.copytree(classifier, tmp_path / "model")
    pd.DataFrame({"text": drawn_texts(1200)}).to_parquet(tmp_path / "texts.parquet")
    usual = plan_of(classifier, tmp_path / "texts.parquet", tmp_path / "levels")
    more = {name: getattr(usual, name) for name in ("engines", "least_steps")}
    more |= {name: getattr(usual, name).model_dump() for name in ("times", "heads")}
    given = tmp_path, tmp_path / "levels", "sst2"
    lax = at_level(*given, 0.85, more, bench=BENCH)
    passes = [*(tmp_path / "levels.part" / "passes").glob("original*")]
    made = {path: path.stat().st_mtime_ns for path in passes}
    strict = at_level(*given, 0.9, more, bench=BENCH)
    assert made
    assert {path: path.stat().st_mtime_ns for path in passes} == made
    for row in (lax, strict):
        assert row["tested"] <= row["allowed"]
        assert row["times_original"].value == pytest.approx(10 / row["ms"])
        assert row["times_rival"].value == pytest.approx(row["rival_ms"] / row["ms"])
        assert [each["name"] for each in row["candidates"]].count(row["rival"]) == 1
    assert lax["allowed"] > strict["allowed"]
    assert lax["minutes"] > 0
    assert strict["minutes"] is None  # its passes were made before


def test_a_draw_parts_the_same_texts_anew(tmp_path: Path):
    (tmp_path / "model").mkdir()
    names = "texts.parquet", "fresh.parquet"
    for name, numbers in zip(names, (range(20), range(20, 30)), strict=True):
        pd.DataFrame({"text": [str(n) for n in numbers]}).to_parquet(tmp_path / name)
    assert drawn(tmp_path, 1) == tmp_path
    second, third = (drawn(tmp_path, draw) for draw in (2, 3))
    texts, fresh, others = (
        pd.read_parquet(folder / name)["text"].tolist()
        for folder, name in ((second, names[0]), (second, names[1]), (third, names[0]))
    )
    assert sorted(map(int, texts + fresh)) == [*range(30)]
    assert len(texts) == 20
    assert set(texts) not in (set(map(str, range(20))), set(others))
    assert (second / "model").samefile(tmp_path / "model")


def test_parts_are_drawn_anew_from_one_pass(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What may change is so much that each draw certifies something, and none breaks it."""
    shutil.copytree(classifier, tmp_path / "model")
    pd.DataFrame({"text": drawn_texts(1200)}).to_parquet(tmp_path / "texts.parquet")
    usual = plan_of(classifier, tmp_path / "texts.parquet", tmp_path / "redrawn")
    monkeypatch.setattr(redraws, "settings_of", lambda *_: usual)
    settings = {"length": 32, "columns": ["text"]}
    claim = Claim("disagreement", 0.3, 0.9)
    row = redraws.redrawn(tmp_path, "sst2", settings, claim, draws=3, learn=200, num_kept=400)
    assert (row["draws"], row["certified"], row["broken"]) == (3, 3, 0)
    assert (row["num_select"], row["num_certify"]) == (80, 160)
    assert 0 <= row["depth"] <= 2
