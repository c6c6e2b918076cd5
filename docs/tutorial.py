"""Commands of a tutorial, run when the site is built, so that they cannot rot.

A block that begins with ```bash run is run by bash in the page's own empty folder, where the blocks
before it left what they wrote; what it prints stands below it. A command that fails fails the site.
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

from experiments.site.made import ROOT

BLOCK = re.compile(r"```bash run\n(.*?)```\n", re.S)
LINES = 30  # of what a command prints, at most
LIMIT = 600  # seconds for a block
RULE = "\u2500\u2500"  # below the head of a table


def runs_commands() -> bool:
    """False where a build is to be quick: EAT_SITE_RUN=false."""
    return os.environ.get("EAT_SITE_RUN", "true") != "false"


def command(module: str, given: str, folder: Path | str = ROOT) -> None:
    """A command of the package, quietly; CalledProcessError where it fails."""
    words = [sys.executable, "-m", f"eat_lightning.{module}", *given.split()]
    subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True)


def with_commands_run(markdown: str, page: str) -> str:
    return BLOCK.sub(lambda block: f"```bash\n{block[1]}```\n{printed(block[1], page)}", markdown)


@cache
def folder_of(page: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{Path(page).stem}-"))


def printed(commands: str, page: str) -> str:
    """Run commands in the page's folder; PluginError with what they said where one fails."""
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
    said = cleaned(done.stdout, folder)
    if done.returncode:
        raise PluginError(f"{page}: status {done.returncode}\n{commands}\n{said}")
    return fenced(said) if said else ""


def fenced(said: str) -> str:
    """Return a command's output as a block: sentences are wrapped (site.css), tables scroll."""
    kind = "text" if RULE in said else "{.text .wrapped}"
    return f"\n```{kind}\n{said}\n```\n"


def environment() -> dict[str, str]:
    """Only this interpreter's commands and this repository's code; quiet and without a network."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "EAT_OUTPUTS": "outputs", "COLUMNS": "110"}
    quiet = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "NO_COLOR": "1"}
    return os.environ | own | quiet | {"PYTHONWARNINGS": "ignore"}


def cleaned(said: str, folder: Path) -> str:
    """Without escape codes, progress that was overwritten and this machine's folders."""
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said).replace(f"{folder}/", "")
    lines = [line.rpartition("\r")[2].rstrip() for line in said.replace("\r\n", "\n").splitlines()]
    lines = [line for line in lines if line]
    cut = len(lines) - LINES
    return "\n".join(lines if cut <= 0 else [*lines[:LINES], f"... {cut} lines more"])
