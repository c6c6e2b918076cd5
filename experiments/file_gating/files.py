"""What a file claims to be, and what its first bytes are.

Formats of one group are never told apart: a script sent as .txt is text, and an office document is
a zip archive. So a mismatch is one that no reader would dispute.
"""

from __future__ import annotations

import re
from itertools import groupby

FORMATS: dict[str, dict[str, str]] = {  # group -> extension -> the MIME type that goes with it
    "pdf": {"pdf": "application/pdf"},
    "png": {"png": "image/png"},
    "jpeg": {"jpg": "image/jpeg", "jpeg": "image/jpeg"},
    "gif": {"gif": "image/gif"},
    "bmp": {"bmp": "image/bmp"},
    "webp": {"webp": "image/webp"},
    "tiff": {"tif": "image/tiff", "tiff": "image/tiff"},
    "gzip": {"gz": "application/gzip", "tgz": "application/gzip"},
    "bzip2": {"bz2": "application/x-bzip2"},
    "xz": {"xz": "application/x-xz"},
    "zip": {
        "zip": "application/zip",
        "jar": "application/java-archive",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    },
    "elf": {"so": "application/x-sharedlib"},
    "exe": {"exe": "application/x-msdownload"},
    "font": {"ttf": "font/ttf"},
    "sqlite": {"sqlite": "application/vnd.sqlite3", "sqlite3": "application/vnd.sqlite3"},
    "wav": {"wav": "audio/x-wav"},
    "text": {
        "txt": "text/plain",
        "md": "text/markdown",
        "csv": "text/csv",
        **dict.fromkeys(("html", "htm"), "text/html"),
        "css": "text/css",
        "js": "text/javascript",
        "json": "application/json",
        "xml": "application/xml",
        "svg": "image/svg+xml",
        "py": "text/x-python",
        **dict.fromkeys(("c", "h"), "text/x-c"),
        "sh": "text/x-shellscript",
        "ps": "application/postscript",
        "eml": "message/rfc822",
        "asc": "application/pgp-signature",
    },
}
OTHER_NAMES = {  # by which senders and tools call a group, apart from text/*
    "jpeg": "image/jpg",
    "bmp": "image/x-ms-bmp",
    "gzip": "application/x-gzip",
    "zip": "application/x-zip-compressed",
    "elf": "application/x-pie-executable application/x-executable application/x-object "
    "application/x-elf application/x-executable-elf",
    "exe": "application/x-dosexec application/vnd.microsoft.portable-executable",
    "font": "font/sfnt application/font-sfnt application/x-font-ttf",
    "sqlite": "application/x-sqlite3",
    "wav": "audio/wav audio/vnd.wave",
    "text": "application/javascript application/x-ndjson application/x-sh "
    "application/x-wine-extension-ini",
}
GROUP_OF = {ext: group for group, types in FORMATS.items() for ext in types}
MIME_OF = {ext: mime for types in FORMATS.values() for ext, mime in types.items()}
ALIASES = {mime: GROUP_OF[ext] for ext, mime in MIME_OF.items()}
ALIASES |= {mime: group for group, names in OTHER_NAMES.items() for mime in names.split()}
ANYTHING = "application/octet-stream"  # claims nothing
LABELS = MATCHING, MISMATCH, UNKNOWN = "matching", "mismatch", "unknown"
HEAD = 24  # bytes: a signature stands in the first dozen; 64 would be three times the tokens
LEAST_RUN = 4  # equal bytes from which on they are not repeated
WORD = re.compile(rb"[\x21-\x7e]{3,}")


def extension(filename: str) -> str:
    """In lower case, without its dot; "" where there is none."""
    stem, dot, ext = filename.rpartition(".")
    return ext.lower() if dot and stem else ""


def group_of_mime(mime: str) -> str | None:
    """None for a type that is in no group, and for one that claims nothing."""
    plain = mime.partition(";")[0].strip().lower()
    if plain in ALIASES:
        return ALIASES[plain]
    if plain.startswith("text/"):
        return "text"
    return "zip" if plain.startswith(("application/vnd.openxml", "application/vnd.oasis")) else None


def verdict(filename: str, mime: str, content: str | None) -> str:
    """The label of a file whose content is of a group (None: of none): `unknown` where the name
    claims none, `mismatch` where a claim is wrong, else `matching`."""
    named = GROUP_OF.get(extension(filename))
    if named is None:
        return UNKNOWN
    return MATCHING if {named, group_of_mime(mime)} - {None} == {content} else MISMATCH


def texts(filename: str, mime: str, head: bytes) -> tuple[str, str]:
    """The task's columns `claim` and `head` of an attachment, as short as a reader would write
    them: ("a.pdf application/pdf", "%PDF-1.4 0a")."""
    return f"{filename} {mime}".strip(), shown(head[:HEAD])


def shown(head: bytes) -> str:
    """Printable ASCII from three characters on as it is, any other byte in hexadecimal, "00 .." for
    a run; "empty" without any. Two characters are no text, so no text looks like other bytes."""
    parts, end = [], 0
    for word in WORD.finditer(head):
        parts += [in_hex(head[end : word.start()]), word.group().decode("ascii")]
        end = word.end()
    parts.append(in_hex(head[end:]))
    return " ".join(filter(None, parts)) or "empty"


def in_hex(piece: bytes) -> str:
    runs = ((f"{value:02x}", len([*same])) for value, same in groupby(piece))
    return " ".join(
        f"{byte} .." if times >= LEAST_RUN else " ".join([byte] * times) for byte, times in runs
    )
