"""Complete files, what they claim, and what peers say, on files made here."""

import numpy as np
import pytest

from experiments.file_gating.formats import verdict
from experiments.file_gating.original import Original
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
