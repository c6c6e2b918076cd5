"""Texts: what is read of each kind of file, what is left out, and near-duplicates on one side."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.classifiers import drawn_texts
from helpers.finished import refused

from eat_lightning.data.unlabelled import Texts, cut, near_doubles, read_texts

ROWS = ["a good film", "a bad film", " ", "a good film", "NA"]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"logs.{kind}"
    frame = pd.DataFrame({"body": ROWS, "day": range(len(ROWS))})
    match kind:
        case "txt":
            path.write_text("\n".join(ROWS))
        case "csv":
            frame.to_csv(path, index=False)
        case "jsonl":
            path.write_text("\n".join(json.dumps({"body": row, "day": 1}) for row in ROWS))
        case "parquet":
            frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "parquet"])
def test_each_kind_of_file_gives_its_distinct_texts(kind: str, tmp_path: Path):
    found = read_texts(str(written(tmp_path, kind)), None if kind == "txt" else ["body"], 100)
    assert found.rows == [("a good film",), ("a bad film",), ("NA",)]
    assert found.line == "5 rows read, 1 empty, 1 doubled"


def test_a_folder_is_all_of_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "inner" / "b.txt").write_text("three")
    (tmp_path / "notes.md").write_text("no text")
    assert read_texts(str(tmp_path), None, 10).rows == [("one",), ("two",), ("three",)]
    assert capsys.readouterr().out.startswith("note: each line of 2 txt files is read as one text;")


def test_a_pair_is_two_columns_or_a_tab(tmp_path: Path):
    path = tmp_path / "pairs.txt"
    path.write_text("a man sleeps\tnobody is awake\nit rains\tit is wet")
    pairs = read_texts(str(path), ["premise", "hypothesis"], 10).rows
    assert pairs == [("a man sleeps", "nobody is awake"), ("it rains", "it is wet")]
    assert read_texts(pairs, None, 10).columns == ["text", "text_pair"]


def test_at_most_so_many_are_drawn():
    rows = [(str(number),) for number in range(50)]
    found = Texts.of(rows, ["text"], most=20)
    assert len(found) == 20
    assert found.line == "50 rows read, 30 not used"
    assert found.rows == Texts.of(rows, ["text"], most=20).rows


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("logs.xls", "", None, "texts={}: must be a file of .txt, .csv, .jsonl, .parquet"),
        ("gone.txt", None, None, "texts={}: there is no such file or folder"),
        (
            "logs.csv",
            "a,b\nx,y",
            ["c"],
            "texts={}: cannot be read (no column c, only a, b: columns=[...] names it)",
        ),
        ("logs.csv", "a,b\nx,y", None, "name the column of texts by columns=[...], among a, b"),
        ("logs.jsonl", "{", None, "texts={}: cannot be read (line 1:"),
        ("logs.parquet", "x", None, "texts={}: cannot be read ("),
        ("logs.txt", "a\tb\tc", ["a", "b"], "line 1: expected 2 texts with a tab between, got 3"),
    ],
)
def test_what_cannot_be_read_is_one_line(name, content, columns, message, tmp_path: Path):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert message.format(path) in refused(read_texts, str(path), columns, 10)


def test_near_doubles_are_one_group():
    rows = [("Order 1234 has been shipped to your address today.",), ("something else entirely",)]
    rows += [("order 99 has been shipped to your address today",)]
    assert near_doubles(rows).tolist() in ([0, 1, 0], [1, 0, 1])


def test_no_near_doubles_stand_on_two_sides_of_the_cut():
    rows = [(text,) for text in drawn_texts(300)]
    rows += [(f"{text} !",) for (text,) in rows[:60]]
    parts, group_N = cut(rows, [0.5, 0.2, 0.3]), near_doubles(rows)
    groups = {name: set(group_N[part].tolist()) for name, part in parts.items()}
    assert not groups["learn"] & (groups["select"] | groups["certify"])
    assert not groups["select"] & groups["certify"]
    assert len(parts["certify"]) == len(groups["certify"])  # one of each group
    assert len(parts["select"]) == len(groups["select"])
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes["select"] == pytest.approx(60, abs=2)
    assert sizes["certify"] == pytest.approx(90, abs=2)
    assert np.concatenate([*parts.values()]).size == len({*np.concatenate([*parts.values()])})
