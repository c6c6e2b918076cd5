"""The commands of the package, called in this process as a person calls them."""

import io
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from golden import reading
from helpers.finished import called

HOMES = {
    **{
        name: f"deploy.{name}.command"
        for name in ("adapt", "certify", "predict", "rerank", "score")
    },
    "export": "bundle.graphs.command",
    "measure": "evaluation.command",
    "train": "train.__main__",
}
UNTIMED = ("timing.enabled=false",)


def command(name: str, *words: str, lines: Sequence[str] = ()) -> tuple[int, str]:
    """The status and the standard output of `eat <name> <words>`, which reads `lines`."""
    printed = io.StringIO()
    with tempfile.TemporaryFile("w+") as given:
        given.write("".join(f"{line}\n" for line in lines))
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        with redirect_stdout(printed), redirect_stderr(io.StringIO()) as said:
            main = import_module(f"eat_lightning.{HOMES[name]}").main
            status = called(main, *words, stdin=given)
    assert status == 0 or name == "predict", f"{name} {' '.join(words)}\n{said.getvalue()}"
    return status, printed.getvalue()


def predicted(folder: Path, lines: Sequence[str], *words: str) -> dict[str, Any]:
    """The answers of `eat predict` to lines, as the golden files keep them."""
    _, printed = command("predict", f"run={folder}", "threads=1", *words, lines=lines)
    found = reading.lines_of(printed)
    assert len(found) == len(lines)
    return reading.answers(found)
