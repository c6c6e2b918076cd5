"""A study's `run.yaml`: the commands that make its rows again, in order.

    needs: 2 hours on two cores; GLUE as parquet files; MiniLM
    steps:
      - eat train experiment=frontier data.dir={data} encoder.pretrained={backbones}/minilm-l6
      - eat measure run=outputs/frontier baselines=all

A word in braces is a place of this machine, which is given as key=value.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eat_lightning.errors import ConfigError, reading
from experiments.study import StudyFolder, given_of

ROOT = Path(__file__).parents[1]
PLACE = re.compile(r"(?<!\$)\{([a-z]\w*)\}")  # not ${this}, which is the shell's


@dataclass(frozen=True)
class Recipe:
    """What `run.yaml` says.

    Args:
        needs: time, data and backbones, for a person to read.
        steps: shell commands, run from the repository's root.
    """

    needs: str
    steps: list[str]

    def __post_init__(self) -> None:
        if wrong := [step for step in self.steps if not isinstance(step, str)]:
            raise ValueError(f"a step must be text: quote what has a colon, got {wrong[0]}")

    @classmethod
    def of(cls, study: StudyFolder) -> Recipe:
        """The recipe of a study; ConfigError names the command to use where it has none."""
        if (study.folder / "run.yaml").is_file():
            with reading(study.folder / "run.yaml"):
                return cls(**yaml.safe_load((study.folder / "run.yaml").read_text("utf-8")))
        command = f"python -m experiments.{study.name}.run"
        raise ConfigError(f"{study.name} has no run.yaml: its rows are made by {command}")

    @property
    def places(self) -> list[str]:
        return [*dict.fromkeys(key for step in self.steps for key in PLACE.findall(step))]

    def commands(self, given: Mapping[str, Any]) -> list[str]:
        """The steps with their places filled."""
        return [PLACE.sub(lambda m: shlex.quote(str(given[m[1]])), step) for step in self.steps]


def run(study: StudyFolder, words: Sequence[str]) -> None:
    """Run a study's steps, or print them where `dry=true` is among the words.

    Raises ConfigError for a place that is not given, and at the first step that fails.
    """
    recipe = Recipe.of(study)
    given = given_of(words, ["dry"], recipe.places)
    commands = recipe.commands(given)
    if given.get("dry"):
        print(f"# needs: {recipe.needs}", *commands, sep="\n")
        return
    for number, command in enumerate(commands, start=1):
        print(f"step {number} of {len(commands)}: {command}", flush=True)
        shell = ["bash", "-euo", "pipefail", "-c", command]
        if status := subprocess.run(shell, cwd=ROOT, env=environment()).returncode:
            raise ConfigError(f"step {number} ended with status {status}: {command}")


def environment() -> dict[str, str]:
    """Variables with which `eat` and `python` are those of this interpreter."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
