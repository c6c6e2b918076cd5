"""Variants of a file as senders make them: named rightly, wrongly, cut, or of an unknown kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters, digits

import numpy as np

from .formats import ANYTHING, FORMATS, GROUP_OF, LABELS, MIME_OF, verdict
from .original import Original

STEMS = ("invoice", "scan", "report", "photo", "document", "statement", "contract", "IMG", "agenda")
STEMS += ("minutes", "order", "payment", "budget", "draft", "notes", "backup", "data", "update")
STEMS += ("logo",)
LETTERS = [*ascii_letters, *digits]
KINDS = {  # kind -> label
    "as is": "matching",
    "no MIME type": "matching",
    "renamed": "mismatch",
    "mislabelled": "mismatch",
    "beheaded": "mismatch",
    "scrambled": "mismatch",
    "end lost": "mismatch",
    "unknown type": "unknown",
    "unknown name": "unknown",
}
LESS = 64  # bytes: what is cut at the end keeps at least these, so that the head looks whole


@dataclass(frozen=True)
class Variant:
    """A complete file as it is sent. kind: of KINDS."""

    kind: str
    origin: str
    filename: str
    mime: str
    content: bytes
    group: str | None

    @property
    def label(self) -> int:
        return LABELS.index(KINDS[self.kind])


def stem(rng: np.random.Generator) -> str:
    """A name that says nothing of the type."""
    if rng.random() < 0.4:
        return "".join(rng.choice(LETTERS, rng.integers(6, 14)))
    number = rng.integers(1, 10_000)
    return f"{rng.choice(STEMS)}{rng.choice(['', '_', '-', ' '])}{number:0{rng.integers(1, 5)}d}"


def lie(group: str, rng: np.random.Generator) -> str:
    """An extension of another group, as often as those that tell the truth are seen."""
    others = [other for other in FORMATS if other != group]
    return str(rng.choice([*FORMATS[rng.choice(others)]]))


def known(original: Original, kind: str, rng: np.random.Generator) -> Variant:
    """A variant of a file whose group is known."""
    group, ext, content = original.group, original.ext, original.content
    if group is None:
        raise ValueError(f"kind {kind} needs a file of a known group, got .{ext}")
    mime = MIME_OF[ext]
    if kind == "no MIME type":
        mime = ANYTHING
    elif kind == "renamed":
        ext = lie(group, rng)
        mime = MIME_OF[ext] if rng.random() < 0.7 else ANYTHING
    elif kind == "mislabelled":
        mime = MIME_OF[lie(group, rng)]
    elif kind == "beheaded":
        content = content[rng.integers(16, max(17, len(content) // 2)) :]
    elif kind == "scrambled":
        content = scrambled(content, rng)
    elif kind == "end lost":
        content = content[: rng.integers(LESS, max(LESS + 1, int(0.9 * len(content))))]
    return Variant(kind, original.origin, f"{stem(rng)}.{ext}", mime, content, group)


def scrambled(content: bytes, rng: np.random.Generator) -> bytes:
    """As an encrypted file looks: no byte tells of the one before."""
    noise = rng.integers(0, 256, len(content), dtype=np.uint8)
    return (np.frombuffer(content, np.uint8) ^ noise).tobytes()


def unknown(original: Original, kind: str, rng: np.random.Generator) -> Variant:
    """A file of no group under its own extension, or one of a group under no extension that claims
    anything."""
    if kind == "unknown type":
        filename = f"{stem(rng)}.{original.ext}"
    else:
        filename = stem(rng) + str(rng.choice(["", ".dat", ".bin", ".tmp", ".enc"]))
    return Variant(kind, original.origin, filename, ANYTHING, original.content, original.group)


def varied(originals: Sequence[Original], rng: np.random.Generator) -> list[Variant]:
    """Make of each file of a known group one that matches and one that does not, of every third one
    under an unknown name; of each other file one of unknown type. What lost its end is made of
    another third: the first bytes cannot show it."""
    made = []
    for number, original in enumerate(originals):
        if original.group is None:
            made.append(unknown(original, "unknown type", rng))
            continue
        matching = str(rng.choice(["as is", "no MIME type"], p=[0.8, 0.2]))
        made += [known(original, matching, rng), known(original, mismatching(original, rng), rng)]
        if number % 3 == 0:
            made.append(unknown(original, "unknown name", rng))
        if number % 3 == 1 and len(original.content) > 4 * LESS:
            made.append(known(original, "end lost", rng))
    return made


def mismatching(original: Original, rng: np.random.Generator) -> str:
    """A text that lost its beginning is a text still."""
    kinds = ["renamed", "mislabelled", "scrambled", "beheaded"]
    text = GROUP_OF[original.ext] == "text" or len(original.content) < 4 * LESS
    return str(rng.choice(kinds, p=[0.45, 0.35, 0.2, 0] if text else [0.35, 0.25, 0.15, 0.25]))


def checked(variant: Variant) -> bool:
    """True where the rule that judges peers agrees with the kind about the truth. A cut
    or scrambled file's content is of no group."""
    spoilt = variant.kind in ("beheaded", "scrambled", "end lost")
    content = None if spoilt else variant.group
    return verdict(variant.filename, variant.mime, content) == KINDS[variant.kind]
