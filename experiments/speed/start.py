"""Seconds until a command has answered, in processes of their own; for an idle machine.

    python -m experiments.speed.start run=adapted

Times `eat --help` and the first answer of `eat predict` on a folder, by turns, and prints the
median of each with its quartiles, and how many files of this package an answer imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from eat_lightning.errors import reported

REPEATS = 15
EAT = [sys.executable, "-m", "eat_lightning"]
IMPORTED = """
import runpy, sys
try:
    runpy.run_module("eat_lightning", run_name="__main__", alter_sys=True)
finally:
    print(sum(name.partition(".")[0] == "eat_lightning" for name in sys.modules), file=sys.stderr)
"""


def seconds(words: Sequence[str], line: str = "") -> float:
    """Time a command from its start to its end."""
    start = time.perf_counter()
    subprocess.run([*EAT, *words], input=line, capture_output=True, text=True, check=True)
    return time.perf_counter() - start


def main(words: Sequence[str]) -> None:
    """Print a JSON line for each command."""
    commands = {"eat --help": ["--help"], "first answer": ["predict", *words]}
    found: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(REPEATS + 1):
        for name, given in commands.items():
            taken = seconds(given, "a fine film\n")
            found[name] += [taken] if number else []  # the first one fills the caches of the disk
    for name, taken in found.items():
        low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).round(3).tolist()
        print(json.dumps({"command": name, "median_s": median, "quartiles_s": [low, high]}))
    command = [sys.executable, "-c", IMPORTED, "predict", *words]
    counted = subprocess.run(command, input="a fine film\n", capture_output=True, text=True)
    print(json.dumps({"files_of_a_first_answer": int(counted.stderr.splitlines()[-1])}))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
