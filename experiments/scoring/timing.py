"""`score` against a plain loop over the same model, with one worker and with two.

    python -m experiments.scoring.timing RUN [--rows 16000] [--repeats 2] [override of score ...]

Texts are those of the run's validation split, drawn at random. By turns, each in a process of its
own with one thread: the loop that `predict` is (batches of 32 as they come), the same loop over
texts sorted by length, and `score` with one worker and with two. Memory is the proportional set
size (PSS) of all of a command's processes, in which what is shared counts once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eat_lightning.deploy.score.corpus import ROWS
from eat_lightning.deploy.score.row import ScoreRow
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import training_faults

SHARDS = 8
LOOP = """
import os, sys, time, torch
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
torch.set_num_threads(1)
backend = open_run(Run.open(sys.argv[1]))
lines = [line.split("\\t") for line in open(sys.argv[2]).read().splitlines()]
if sys.argv[3] == "sorted":
    lines.sort(key=lambda texts: -len(backend.tokenizer(*texts)["input_ids"]))
backend.answer(lines[:64])
start = time.perf_counter()
for first in range(0, len(lines), 32):
    backend.answer(lines[first : first + 32])
print(len(lines) / (time.perf_counter() - start))
"""


def corpus(run: Run, rows: int, path: Path) -> None:
    columns = run.data().source("validation").texts
    texts = ["\t".join(each) for each in zip(*columns, strict=True)]
    flat = [" ".join(text.splitlines()) for text in texts]
    chosen = np.random.default_rng(0).integers(len(flat), size=rows)
    path.write_text("".join(f"{flat[i]}\n" for i in chosen))


def looped(run: str, path: Path, order: str) -> float:
    """Rows a second of a plain loop."""
    command = [sys.executable, "-c", LOOP, run, str(path), order]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def scored(run: str, path: Path, workers: int, overrides: Sequence[str]) -> tuple[float, float]:
    """Rows a second, and the largest PSS in MB of all processes together."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        given = [f"input={path}", f"output={out}", f"run={run}", f"workers={workers}"]
        given.append(f"shard_mb={path.stat().st_size / SHARDS / (1 << 20)}")
        command = [sys.executable, "-m", "eat_lightning.score", *given, *overrides]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = 0.0
        while child.poll() is None:
            sizes = [pss_mb(pid) for pid in (child.pid, *children(child.pid))]
            if len(sizes) == 1 + workers:
                whole = max(whole, sum(sizes))
            time.sleep(0.2)
        [row] = jsonl.read(out / ROWS, ScoreRow)
    return row.rate, whole


def children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--rows", type=int, default=16000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--force", action="store_true", help="although something trains")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    if not given.force and (faults := training_faults("--force")):
        raise SystemExit("\n".join(faults))
    rates: dict[str, list[float]] = {}
    memory: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.txt"
        corpus(Run.open(given.run), given.rows, path)
        for _ in range(given.repeats):
            for order in ("as they come", "sorted"):
                rates.setdefault(f"loop, {order}", []).append(looped(given.run, path, order))
            for workers in (1, 2):
                rate, peak = scored(given.run, path, workers, given.overrides)
                rates.setdefault(f"score, {workers}", []).append(rate)
                memory[workers] = max(memory.get(workers, 0.0), peak)
    for name, found in rates.items():
        print(f"{name:20} {np.mean(found):8.1f} rows/s  ({', '.join(f'{x:.1f}' for x in found)})")
    one, two = np.mean(rates["score, 1"]), np.mean(rates["score, 2"])
    for order in ("as they come", "sorted"):
        loop = np.mean(rates[f"loop, {order}"])
        print(f"one worker / loop, {order}: {one / loop:.3f}")
    print(f"two workers / one: {two / one:.3f}")
    more = memory[2] - memory[1]
    share = 100 * more / memory[1]
    print(f"memory: {memory[1]:.0f} MB with one worker, {memory[2]:.0f} MB with two: {share:.1f} %")


if __name__ == "__main__":
    main()
