"""Verdicts on a file by what it claims, and the data set from packages made here."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eat_lightning.report import result
from experiments.file_gating.files import texts, verdict
from experiments.file_gating.recipe import Machine, build


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Forty packages with a text and a file of a type that nobody claims."""
    info, files = tmp_path / "info", tmp_path / "files"
    info.mkdir()
    files.mkdir()
    for n in range(40):
        (files / f"{n}.txt").write_text(f"text {n}\n" * 60)
        (files / f"{n}.mo").write_bytes(bytes([n]) * 300)
        (info / f"p{n}.list").write_text(f"{files / f'{n}.txt'}\n{files / f'{n}.mo'}\n")
    return Machine(info, tmp_path, {"none": lambda: lambda content: "text/plain"})


def test_the_data_set_is_the_same_again_and_shares_no_file(machine: Machine, tmp_path: Path):
    parts = []
    for name in ("one", "two"):
        build(tmp_path / name, seed=1, per_ext=40, per_maker=0, machine=machine)
        folder = tmp_path / name / "file_gating"
        parts.append(
            {s: pq.read_table(folder / f"{s}.parquet").to_pydict() for s in ("train", "validation")}
        )
    assert parts[0] == parts[1]
    train, held = parts[0]["train"], parts[0]["validation"]
    assert len(held["label"]) > 10
    assert set(train["label"]) == set(held["label"]) == {0, 1, 2}
    matching = [
        {h for h, kind in zip(p["head"], p["source"], strict=True) if kind == "as is"}
        for p in (train, held)
    ]
    assert not matching[0] & matching[1]
    peers = result.read(folder / "peers.jsonl")
    assert {r["files"] for r in peers} >= {"as is", "renamed", "end lost"}


def test_bytes_are_shown_as_short_as_a_reader_would_write_them():
    assert texts("a.pdf", "application/pdf", b"%PDF-1.4\n")[1] == "%PDF-1.4 0a"
    assert texts("a", "", b"\x00" * 9 + b"ab\x01\x01")[1] == "00 .. 61 62 01 01"
    assert texts("a", "", b"")[1] == "empty"


@pytest.mark.parametrize(
    ("filename", "mime", "content", "label"),
    [
        ("a.pdf", "application/pdf", "pdf", "matching"),
        ("a.PDF", "application/octet-stream", "pdf", "matching"),
        ("a.txt", "text/x-python; charset=utf-8", "text", "matching"),  # one group
        ("a.docx", "application/zip", "zip", "matching"),
        ("a.pdf", "application/pdf", "exe", "mismatch"),
        ("a.pdf", "image/png", "pdf", "mismatch"),
        ("a.png", "application/pdf", "pdf", "mismatch"),
        ("a.pdf", "application/pdf", None, "mismatch"),
        ("a.dat", "application/octet-stream", "pdf", "unknown"),
        ("a.dat", "application/pdf", "pdf", "unknown"),
        (".pdf", "application/octet-stream", "pdf", "unknown"),  # a name without an extension
        ("a", "", None, "unknown"),
    ],
)
def test_verdicts(filename: str, mime: str, content: str | None, label: str):
    assert verdict(filename, mime, content) == label
