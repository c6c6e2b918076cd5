"""Complete files, what they claim, and what peers say, on files made here."""

import numpy as np
import pytest

from experiments.file_gating.formats import verdict
from experiments.file_gating.original import Original
from experiments.file_gating.real import answered, summed
from experiments.file_gating.variants import checked, known

PDF = Original("tool", "pdf", b"%PDF-1.4\n" + bytes(range(256)) * 4)
TEXT = Original("tool", "txt", b"a line\n" * 100)


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


@pytest.mark.parametrize("kind", ["as is", "no MIME type", "renamed", "mislabelled", "scrambled"])
@pytest.mark.parametrize("file", [PDF, TEXT], ids=["pdf", "txt"])
def test_the_rule_says_of_a_variant_what_was_done(kind: str, file: Original):
    for seed in range(30):
        assert checked(known(file, kind, np.random.default_rng(seed)))


def test_real_attachments_are_counted():
    rows = [
        {"source": "s", "filename": f"{i}.pdf", "declared_mime": "application/pdf", "head64_hex": h}
        for i, h in enumerate(["25504446", "4d5a", ""])
    ]

    def answer(pairs: list[list[str]]) -> list[dict]:
        assert pairs[0] == ["0.pdf application/pdf", "%PDF"]
        said = {"matching": 3, "mismatch": 6, "unknown": 6}
        return [{"label": label, "depth": depth} for label, depth in said.items()]

    def look(head: bytes) -> str:
        return "application/pdf" if head else "x/empty"

    found = summed(answered(rows, answer), look)
    assert found["all"] == {"n": 3, "depth": 5.0, "matching": 1, "mismatch": 1, "unknown": 1}
    assert found["by_ext"] == {"pdf": found["all"]}
    assert found["libmagic"] == {"same_side": 2, "matching": 2, "mismatch": 1, "unknown": 0}
