"""The curve over levels of agreement: all of them share one scratch folder."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.adapting import BENCH, plan_of
from helpers.classifiers import drawn_texts

from experiments.adapt.levels import at_level


def test_levels_share_their_passes(classifier: Path, tmp_path: Path):
    shutil.copytree(classifier, tmp_path / "model")
    pd.DataFrame({"text": drawn_texts(1200)}).to_parquet(tmp_path / "texts.parquet")
    usual = plan_of(classifier, tmp_path / "texts.parquet", tmp_path / "levels")
    more = {name: getattr(usual, name) for name in ("engines", "least_steps")}
    more |= {name: getattr(usual, name).model_dump() for name in ("times", "heads")}
    given = tmp_path, tmp_path / "levels", "sst2"
    lax = at_level(*given, 0.85, more, BENCH)
    passes = [*(tmp_path / "levels.part" / "passes").glob("original*")]
    made = {path: path.stat().st_mtime_ns for path in passes}
    strict = at_level(*given, 0.9, more, BENCH)
    assert made
    assert {path: path.stat().st_mtime_ns for path in passes} == made
    for row in (lax, strict):
        assert row["tested"] <= row["allowed"]
        assert row["times_original"].value == pytest.approx(10 / row["ms"])
        assert row["times_rival"].value == pytest.approx(row["rival_ms"] / row["ms"])
        assert [each["name"] for each in row["candidates"]].count(row["rival"]) == 1
    assert lax["allowed"] > strict["allowed"]
