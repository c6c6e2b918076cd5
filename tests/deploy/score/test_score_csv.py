"""A corpus in csv: quoted line ends, columns as text, rows that are not UTF-8, damaged files."""

import json
from pathlib import Path

import pytest
from helpers.scores import rejects_of, rows_of, scored, settings

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.score.command import score


def test_csv_passes_its_columns_through(sst2: Path, tmp_path: Path):
    """Quoted line ends and commas, a byte order mark, numbers and NA as the text they are."""
    given = b'\xef\xbb\xbfid,sentence,note\n007,"good, not\nbad",NA\n8,,"say ""so"""\n'
    (tmp_path / "a.csv").write_bytes(given + b"9,caf\xe9,\n10,fine,x\n")
    rows = scored(tmp_path / "a.csv", tmp_path / "out", sst2, window=2)
    texts = ["good, not\nbad", "", "fine"]
    assert [row["sentence"] for row in rows] == texts
    assert [(row["id"], row["note"]) for row in rows] == [
        ("007", "NA"),
        ("8", 'say "so"'),
        ("10", "x"),
    ]
    lines = [json.dumps({"text": text}).encode() for text in texts]
    wanted = [answer["confidence"] for answer in TorchModel.open(sst2)(lines)]
    assert [row["confidence"] for row in rows] == pytest.approx(wanted, abs=1e-5)
    [reject] = rejects_of(tmp_path / "out")
    assert (reject["row"], reject["reason"]) == (2, "no text, or none that is UTF-8")
    rows = scored(tmp_path / "a.csv", tmp_path / "ids", sst2, keep=["id"], workers=2)
    assert [*rows[0]][:2] == ["id", "label"]


def test_a_csv_that_is_damaged_within_stops_no_other(sst2: Path, tmp_path: Path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("sentence,id\ngood,1\nbad,2,3\n")
    (tmp_path / "in" / "b.csv").write_text("id,text\n1,good\n")
    assert score(settings(tmp_path / "in", tmp_path / "out", sst2, workers=2)) == 1
    error = capsys.readouterr().err
    assert f"error: {tmp_path}/in/a.csv: cannot be read (" in error
    assert "Expected 2 columns, got 3" in error
    assert [row["id"] for row in rows_of(tmp_path / "out")] == ["1"]
