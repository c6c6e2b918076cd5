"""Complete files, what they claim, and what peers say, on files made here."""

from pathlib import Path

import numpy as np
import pytest

from experiments.file_gating import original
from experiments.file_gating.formats import group_of_mime, verdict
from experiments.file_gating.makers import MAKERS, made
from experiments.file_gating.original import Original, sampled
from experiments.file_gating.peers import judged, tallies
from experiments.file_gating.real import answered, summed
from experiments.file_gating.variants import Variant, checked, known

PDF = Original("tool", "pdf", b"%PDF-1.4\n" + bytes(range(256)) * 4)
TEXT = Original("tool", "txt", b"a line\n" * 100)
NOBODY = Original("tool", "mo", bytes(100))


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


def test_a_mime_type_claims_its_group():
    assert group_of_mime("text/whatever") == "text"
    assert group_of_mime("image/jpg") == "jpeg"
    assert group_of_mime("application/octet-stream") is None


@pytest.mark.parametrize("kind", ["as is", "no MIME type", "renamed", "mislabelled", "scrambled"])
@pytest.mark.parametrize("file", [PDF, TEXT], ids=["pdf", "txt"])
def test_the_rule_says_of_a_variant_what_was_done(kind: str, file: Original):
    for seed in range(30):
        assert checked(known(file, kind, np.random.default_rng(seed)))


def test_what_is_cut_is_the_rest_of_the_file():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert PDF.content.endswith(known(PDF, "beheaded", rng).content)
        kept = known(PDF, "end lost", rng).content
        assert PDF.content.startswith(kept)
        assert 64 <= len(kept) < len(PDF.content)


def test_a_name_says_nothing_of_the_content():
    """The same draws give the same stem, whatever the file."""
    names = [known(f, "as is", np.random.default_rng(1)).filename for f in (PDF, TEXT)]
    assert [name.rpartition(".")[0] for name in names] == [names[0].rpartition(".")[0]] * 2


def test_a_file_of_no_group_has_no_other_variant():
    with pytest.raises(ValueError, match=r"kind renamed needs a file of a known group, got \.mo"):
        known(NOBODY, "renamed", np.random.default_rng(0))


def test_files_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each once, few of one package, no links, none that is too large."""
    info, files = tmp_path / "info", tmp_path / "files"
    info.mkdir()
    files.mkdir()
    for package, names in {"a:amd64": range(5), "b": range(5, 7)}.items():
        paths = [files / f"{n}.txt" for n in names]
        for n, path in zip(names, paths, strict=True):
            path.write_text(f"text {n}")
        (info / f"{package}.list").write_text("".join(f"{path}\n" for path in [files, *paths]))
    (files / "5.txt").write_text("text 0")  # of another package, but the same
    (files / "6.txt").unlink()
    (files / "6.txt").symlink_to(files / "1.txt")
    monkeypatch.setattr(original, "DPKG", info)
    monkeypatch.setattr(original.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    found = sampled(["txt"], 10, 3, np.random.default_rng(0))
    assert {o.origin for o in found} <= {"dpkg a", "dpkg b"}
    assert len({o.content for o in found}) == len(found)
    assert sum(o.origin == "dpkg a" for o in found) == 3
    assert len(sampled(["txt"], 2, 3, np.random.default_rng(0))) == 2
    monkeypatch.setattr(original, "MOST", 3)
    assert sampled(["txt"], 10, 3, np.random.default_rng(0)) == []


SIGNATURES = {
    "pdf": b"%PDF",
    "png": b"\x89PNG",
    "zip": b"PK\x03\x04",
    "xlsx": b"PK\x03\x04",
    "gz": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ",
    "wav": b"RIFF",
    "gif": b"GIF8",
    "bmp": b"BM",
    "jpg": b"\xff\xd8\xff",
}


@pytest.mark.parametrize("maker", [name for name in MAKERS if name != "gpg"])
def test_makers_write_what_they_say(maker: str, monkeypatch: pytest.MonkeyPatch):
    modules = {"openpyxl": "openpyxl", "python-docx": "docx", "python-pptx": "pptx"}
    if maker in modules:
        pytest.importorskip(modules[maker])
    monkeypatch.setattr("experiments.file_gating.makers.MAKERS", {maker: MAKERS[maker]})
    found = made([b"some text\nof two lines"], 1, np.random.default_rng(0))
    assert found
    for file in found:
        assert file.group is not None
        assert file.content.startswith(SIGNATURES.get(file.ext, b""))


def variant(kind: str, filename: str = "a.pdf", mime: str = "application/pdf") -> Variant:
    return Variant(kind, "tool", filename, mime, b"%PDF", "pdf")


def test_peers_are_judged_by_the_rule_of_the_truth():
    variants = [variant("as is"), variant("renamed", "a.png", "image/png"), variant("as is")]
    answers = judged(variants, lambda content: "application/pdf")
    assert answers == [0, 1, 0]
    found = tallies(variants, [0, 1, 2], "peer")
    assert found == [
        {"peer": "peer", "kind": "as is", "n": 2, "right": 1, "deep": 1},
        {"peer": "peer", "kind": "renamed", "n": 1, "right": 1, "deep": 1},
    ]


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
