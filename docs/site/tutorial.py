"""Commands of a tutorial, run when the site is built so that they stay correct.

A block that begins with ```bash run is run by bash in the page's own folder, which is empty at
first and keeps what earlier blocks wrote. Its output is shown below it, and a command that fails
stops the build.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from mkdocs.exceptions import PluginError

from docs.site.made import ROOT

BLOCK = re.compile(r"```bash run\n(.*?)```\n", re.S)
LINES = 30  # of what a command prints, at most
LIMIT = 1800  # seconds for a block, on a busy machine
RULE = "\u2500\u2500"  # below the head of a table


def runs_commands() -> bool:
    """Whether a build runs commands; EAT_SITE_RUN=false makes a quick one."""
    return os.environ.get("EAT_SITE_RUN", "true") != "false"


def command(module: str, given: str, folder: Path | str = ROOT) -> None:
    """Run a command of the package quietly; CalledProcessError where it fails."""
    words = [sys.executable, "-m", f"eat_lightning.{module}", *given.split()]
    subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True)


def with_commands_run(markdown: str, page: str) -> str:
    """A page with the output of its commands."""
    return BLOCK.sub(lambda block: f"```bash\n{block[1]}```\n{printed(block[1], page)}", markdown)


@cache
def folder_of(page: str) -> Path:
    """The folder in which a page's commands run."""
    return Path(tempfile.mkdtemp(prefix=f"{Path(page).stem}-"))


def printed(commands: str, page: str) -> str:
    """The output of commands in the page's folder; PluginError with it where one fails."""
    folder = folder_of(page)
    print(f"{page}: {commands.strip().splitlines()[0]}", flush=True)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    output = cleaned(done.stdout, folder)
    if done.returncode:
        raise PluginError(f"{page}: status {done.returncode}\n{commands}\n{output}")
    return fenced(output) if output else ""


def fenced(output: str) -> str:
    """A command's output as a block: sentences are wrapped (site.css), tables scroll."""
    kind = "text" if RULE in output else "{.text .wrapped}"
    return f"\n```{kind}\n{output}\n```\n"


def environment() -> dict[str, str]:
    """Variables for this interpreter and this repository's code, quiet and without a network."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "EAT_OUTPUTS": "outputs", "COLUMNS": "110"}
    quiet = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "NO_COLOR": "1"}
    return os.environ | own | quiet | {"PYTHONWARNINGS": "ignore"}


def cleaned(output: str, folder: Path) -> str:
    """Output without escape codes, overwritten progress and this machine's folders."""
    output = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output).replace(f"{folder}/", "")
    lines = output.replace("\r\n", "\n").splitlines()
    lines = [line for each in lines if (line := each.rpartition("\r")[2].rstrip())]
    cut = len(lines) - LINES
    return "\n".join(lines if cut <= 0 else [*lines[:LINES], f"... {cut} more lines"])
