"""`eat` in a process where torch, and what goes with it, cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

ABSENT = (
    *("torch", "transformers", "lightning", "datasets", "wandb", "matplotlib", "pandas"),
    *("pyarrow", "torchmetrics", "jaxtyping", "jinja2", "rich", "tabulate"),
)
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\n"  # an import of these fails
COMMAND = """
import json, runpy
try:
    runpy.run_module("eat_lightning", run_name="__main__", alter_sys=True)
finally:
    ours = [name for name in sys.modules if name.partition(".")[0] == "eat_lightning"]
    print(json.dumps(ours), file=sys.stderr)
"""


def predicted(*words: str, lines: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The answers of `eat predict`, and the modules of this package that it imported."""
    out, err = output(COMMAND, "predict", *words, lines=lines)
    return list(map(json.loads, out.splitlines())), json.loads(err.splitlines()[-1])


def output(code: str, *words: str, lines: Sequence[str] = (), status: int = 0) -> tuple[str, str]:
    """What a script prints on standard output and standard error, and ends with this status."""
    command = [sys.executable, "-c", BLOCK + code, *words]
    given = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr
