"""Real attachments (email_attachments: 64 bytes, no label) through a trained gate: who goes where.

There is no label, so nothing here is right or wrong.

    python -m experiments.file_gating.real run=outputs/file_gating/... [dir=<data>]

Writes <run>/stream.json, counts alone, which experiments/file_gating/page.md puts into its table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.runs.run import Run, write_json
from experiments.file_gating.attachment import texts

from .formats import LABELS, extension, group_of_mime, verdict
from .peers import libmagic

COLUMNS = ["source", "filename", "declared_mime", "head64_hex"]
AT_ONCE = 32


def attachments(path: Path) -> list[dict[str, Any]]:
    """Rows of metadata.parquet; ConfigError where it is not there or something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(columns=COLUMNS).select(COLUMNS).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ConfigError(f"{path}: no attachments ({str(error).splitlines()[0]})") from None


def answered(rows: Sequence[dict[str, Any]], answer: Callable[[list[list[str]]], Any]) -> Any:
    """A frame of attachments with the `label` and the `depth` that each got. answer: pairs of
    texts -> both of each, as `predict` says them."""
    seen = DataFrame(rows, dtype=object).rename(columns={"declared_mime": "mime"})
    seen["head"] = seen["head64_hex"].map(bytes.fromhex)
    seen["ext"] = seen["filename"].map(extension)
    files = zip(seen["filename"], seen["mime"], seen["head"], strict=True)
    pairs = [[*texts(*file)] for file in files]
    parts = (pairs[first : first + AT_ONCE] for first in range(0, len(pairs), AT_ONCE))
    answers = DataFrame([said for part in parts for said in answer(part)])
    return seen.join(answers[["label", "depth"]])


def summed(seen: Any, look: Callable[[bytes], str] | None = None) -> dict[str, Any]:
    """Counts of labels and mean depth, of all and by extension. look: libmagic, which sees the same
    first bytes; how often it sends a file to the same side."""
    by_ext = {str(ext): counted(own) for ext, own in seen.groupby("ext")}
    made: dict[str, Any] = {"all": counted(seen), "by_ext": by_ext}
    if look is not None:
        groups = seen["head"].map(look).map(group_of_mime)
        files = zip(seen["filename"], seen["mime"], groups, strict=True)
        theirs = [verdict(*file) for file in files]
        matching = LABELS[0]
        same = (seen["label"] == matching) == (np.array(theirs) == matching)
        counts = {label: theirs.count(label) for label in LABELS}
        made["libmagic"] = {"same_side": int(same.sum()), **counts}
    return made


def counted(seen: Any) -> dict[str, Any]:
    labels = {label: int((seen["label"] == label).sum()) for label in LABELS}
    return {"n": len(seen), "depth": round(float(seen["depth"].mean()), 3), **labels}


def main() -> None:
    with reported():
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
