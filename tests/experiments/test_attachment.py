"""An attachment as two texts, by hand."""

import pytest

from experiments.file_gating.attachment import HEAD, in_hex, shown, texts


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "empty"),
        (b"%PDF-1.4\n", "%PDF-1.4 0a"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "89 PNG 0d 0a 1a 0a 00 00 00 0d IHDR"),
        (b"PK\x03\x04", "50 4b 03 04"),  # two letters say nothing
        (b"\x00" * 12 + b"abc", "00 .. abc"),
        (b"\x00..", "00 2e 2e"),
        (b"\x00" * 3, "00 00 00"),
        (b"a bc", "61 20 62 63"),
    ],
)
def test_bytes_as_text(head: bytes, said: str):
    assert shown(head) == said


def test_runs_are_cut_short_from_four_on():
    assert in_hex(b"\xff" * 4 + b"\x00" * 3 + b"\x01") == "ff .. 00 00 00 01"


def test_claim_and_head():
    assert texts("a.pdf", "application/pdf", b"%PDF-1.4\n") == (
        "a.pdf application/pdf",
        "%PDF-1.4 0a",
    )
    assert texts("a", "", b"") == ("a", "empty")


def test_what_comes_later_is_not_looked_at():
    head = bytes(range(128, 128 + HEAD))
    assert texts("a", "b", head) == texts("a", "b", head + b"more")
