"""Real attachments (email_attachments: 64 bytes, no label) through a trained gate: who goes where.

There is no label, so nothing here is right or wrong.

    python -m experiments.file_gating.real run=outputs/file_gating/... [dir=<data>]

Writes <run>/stream.json, counts alone, which experiments/file_gating/page.md puts into its table.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.data.attachment import texts
from eat_lightning.errors import ConfigError, told
from eat_lightning.runs.run import Run, write_json

from .formats import LABELS, extension, group_of_mime, verdict
from .peers import libmagic

COLUMNS = ["source", "filename", "declared_mime", "head64_hex"]
AT_ONCE = 32


@dataclass(frozen=True)
class Seen:
    """An attachment and the answer for it."""

    source: str
    filename: str
    mime: str
    head: bytes
    label: str
    depth: int


def attachments(path: Path) -> list[dict[str, Any]]:
    """Rows of metadata.parquet; ConfigError where it is not there or something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(columns=COLUMNS).select(COLUMNS).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ConfigError(f"{path}: no attachments ({str(error).splitlines()[0]})") from None


def answered(
    rows: Sequence[dict[str, Any]], answer: Callable[[list[list[str]]], Any]
) -> list[Seen]:
    """answer: pairs of texts -> a label and a depth of each, as `predict` says them."""
    found = []
    for first in range(0, len(rows), AT_ONCE):
        part = rows[first : first + AT_ONCE]
        heads = [bytes.fromhex(row["head64_hex"]) for row in part]
        pairs = [
            [*texts(row["filename"], row["declared_mime"], head)]
            for row, head in zip(part, heads, strict=True)
        ]
        found += [
            Seen(r["source"], r["filename"], r["declared_mime"], head, a["label"], a["depth"])
            for r, head, a in zip(part, heads, answer(pairs), strict=True)
        ]
    return found


def summed(seen: Sequence[Seen], look: Callable[[bytes], str] | None = None) -> dict[str, Any]:
    """Counts of labels and mean depth, of all and by extension. look: libmagic, which sees the same
    first bytes; how often it sends a file to the same side."""
    made: dict[str, Any] = {"all": counted(seen), "by_ext": {}}
    for ext, _ in Counter(extension(s.filename) for s in seen).most_common():
        made["by_ext"][ext] = counted([s for s in seen if extension(s.filename) == ext])
    if look is not None:
        theirs = [verdict(s.filename, s.mime, group_of_mime(look(s.head))) for s in seen]
        matching = LABELS[0]
        same = sum(
            (s.label == matching) == (t == matching) for s, t in zip(seen, theirs, strict=True)
        )
        made["libmagic"] = {"same_side": same, **{k: theirs.count(k) for k in LABELS}}
    return made


def counted(seen: Sequence[Seen]) -> dict[str, Any]:
    labels = Counter(s.label for s in seen)
    depth = sum(s.depth for s in seen) / len(seen)
    return {"n": len(seen), "depth": round(depth, 3), **{k: labels[k] for k in LABELS}}


def main() -> None:
    with told():
        stream(**asked(sys.argv[1:]))


def asked(arguments: Sequence[str]) -> dict[str, str]:
    given = {"dir": os.environ.get("EAT_DATA", "")}
    given |= dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if set(given) != {"run", "dir"} or not given["dir"]:
        raise ConfigError("run=<folder of a finished run> and dir=<folder of data> (or EAT_DATA)")
    return given


def stream(run: str, dir: str) -> None:
    from eat_lightning.runs.open import open_run

    opened = Run.open(run)
    rows = attachments(Path(dir) / "email_attachments" / "metadata.parquet")
    try:
        look = libmagic()
    except ImportError:
        look = None
    found = summed(answered(rows, open_run(opened).answer), look)
    write_json(opened.folder / "stream.json", found)
    print(f"{opened.folder / 'stream.json'}: {found['all']}")


if __name__ == "__main__":
    main()
