"""An attachment as a pair of texts: what its sender says of it, and its first bytes.

    texts("a.pdf", "application/pdf", b"%PDF-1.4\\n") -> ("a.pdf application/pdf", "%PDF-1.4 0a")

Both are as short as a reader would write them, since each token costs: EAT, section 10, "filename +
MIME + short headers".
"""

from __future__ import annotations

import re
from itertools import groupby

HEAD = 24  # bytes: a signature stands in the first dozen; all 64 would be three times the tokens
LEAST_RUN = 4  # equal bytes from which on they are not repeated
WORD = re.compile(rb"[\x21-\x7e]{3,}")


def texts(filename: str, mime: str, head: bytes) -> tuple[str, str]:
    """The task's columns `claim` and `head`."""
    return f"{filename} {mime}".strip(), shown(head[:HEAD])


def shown(head: bytes) -> str:
    """Printable ASCII from three characters on as it is, any other byte as two hexadecimal digits,
    "00 .." for a run of them; "empty" without any. What has two characters is no text, so that no
    text can look like other bytes."""
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
