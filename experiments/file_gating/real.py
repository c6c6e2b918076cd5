"""Real attachments (email_attachments: 64 bytes, no label) through a trained gate: who goes where.

    python -m experiments.file_gating.real run=outputs/file_gating/... [dir=<data>]

Writes <run>/stream.json, counts alone, which experiments/file_gating/page.md puts into its table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from eat_lightning.errors import ConfigError
from eat_lightning.predict.__main__ import Answerer
from eat_lightning.runs.run import Run, write_json

from .peers import libmagic
from .stream import answered, attachments, summed


def main() -> None:
    try:
        stream(**asked(sys.argv[1:]))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def asked(arguments: Sequence[str]) -> dict[str, str]:
    given = {"dir": os.environ.get("EAT_DATA", "")}
    given |= dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if set(given) != {"run", "dir"} or not given["dir"]:
        raise ConfigError("run=<folder of a finished run> and dir=<folder of data> (or EAT_DATA)")
    return given


def stream(run: str, dir: str) -> None:
    opened = Run.open(run)
    rows = attachments(Path(dir) / "email_attachments" / "metadata.parquet")
    answerer = Answerer.of(opened, {}, "fp32")
    try:
        look = libmagic()
    except ImportError:
        look = None
    found = summed(answered(rows, answerer.answer), look)
    write_json(opened.folder / "stream.json", found)
    print(f"{opened.folder / 'stream.json'}: {found['all']}")


if __name__ == "__main__":
    main()
