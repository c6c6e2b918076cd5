"""File formats: the group that a file's bytes belong to, the names and MIME types that claim it.

Formats of one group are never told apart: a script sent as .txt is text, and an office document is
a zip archive. So what is called a mismatch is one that no reader would dispute.
"""

from __future__ import annotations

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
        "html": "text/html",
        "htm": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "json": "application/json",
        "xml": "application/xml",
        "svg": "image/svg+xml",
        "py": "text/x-python",
        "c": "text/x-c",
        "h": "text/x-c",
        "sh": "text/x-shellscript",
        "ps": "application/postscript",
        "eml": "message/rfc822",
        "asc": "application/pgp-signature",
    },
}
GROUP_OF = {ext: group for group, types in FORMATS.items() for ext in types}
MIME_OF = {ext: mime for types in FORMATS.values() for ext, mime in types.items()}
ANYTHING = "application/octet-stream"  # claims nothing
LABELS = ("matching", "mismatch", "unknown")
ALIASES = {  # what senders and other tools call them, apart from text/* and what zip archives hold
    **{mime: GROUP_OF[ext] for ext, mime in MIME_OF.items()},
    "image/jpg": "jpeg",
    "image/x-ms-bmp": "bmp",
    "application/x-gzip": "gzip",
    "application/x-zip-compressed": "zip",
    "application/x-pie-executable": "elf",
    "application/x-executable": "elf",
    "application/x-object": "elf",
    "application/x-elf": "elf",
    "application/x-executable-elf": "elf",
    "application/x-dosexec": "exe",
    "application/vnd.microsoft.portable-executable": "exe",
    "font/sfnt": "font",
    "application/font-sfnt": "font",
    "application/x-font-ttf": "font",
    "application/x-sqlite3": "sqlite",
    "audio/wav": "wav",
    "audio/vnd.wave": "wav",
    "application/javascript": "text",
    "application/x-ndjson": "text",
    "application/x-sh": "text",
    "application/x-wine-extension-ini": "text",
}


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
    """The label of a file whose content is of this group (None: of none): `unknown` where neither
    name nor MIME type claims a group, `mismatch` where one that does is wrong, else `matching`."""
    claims = {GROUP_OF.get(extension(filename)), group_of_mime(mime)} - {None}
    if not claims or GROUP_OF.get(extension(filename)) is None:
        return "unknown"
    return "matching" if claims == {content} else "mismatch"
