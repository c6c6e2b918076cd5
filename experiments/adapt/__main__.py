"""Proof of `eat adapt` on classifiers that plain transformers has tuned.

    python -m experiments.adapt.tune task=stsb body=FOLDER data=FOLDER to=FOLDER     # first
    python -m experiments.adapt answers folder=FOLDER task=stsb [learn=800] [kept=1200]
    python -m experiments.adapt redraws folder=FOLDER task=stsb [agree=0.95] [draws=200]
    python -m experiments.adapt chosen folder=FOLDER task=stsb [agree=0.95] [batch=32]  # times too

`answers` runs all passes, and times nothing: what transformers answers, what our heads do, in fp32
and in int8. `redraws` draws the parts anew from these and adds a row to `results/`. `chosen` runs
`eat adapt` itself, times included, compares answers on `fresh.parquet`, and adds a row too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from eat_lightning.config import CONFIG_DIR, parsed
from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.forms import Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.deploy.adapt.texts import read_texts
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.errors import reported
from eat_lightning.long_texts import REFUSE
from eat_lightning.progress import shown
from eat_lightning.runs import jsonl
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.runs.run import git_commit
from experiments.adapt.chosen import ChosenRow, chosen_row
from experiments.adapt.redraws import PARTS, Draw, Kept, drawn
from experiments.adapt.rows import AdaptRow

HERE = Path(__file__).parent
TASKS = yaml.safe_load((HERE / "tasks.yaml").read_text("utf-8"))
CONFIDENCE, SELECT = 0.95, 200  # texts that judge the heads while they learn


def passes(folder: Path, task: str, num_learn: int, num_kept: int) -> Kept:
    """Make or read all answers. Texts are the first ones of `texts.parquet`, which are shuffled."""
    settings = TASKS[task]
    given = settings["length"], settings.get("tolerance")
    original = Original.open(str(folder / "model"), *given, long=REFUSE)
    most = num_learn + SELECT + num_kept
    texts = read_texts(str(folder / "texts.parquet"), settings["columns"], most)
    texts = texts.read_by(original.reader)
    ends = [num_learn, num_learn + SELECT]
    learn, select, kept = np.split(np.arange(len(texts)), ends)
    parts: dict[str, np.ndarray] = {"learn": learn, "select": select, "kept": kept}
    work = Work.open(folder / "answers", {"task": task, "learn": num_learn, "kept": num_kept})
    splits = splits_of(texts, parts, original, work.folder)
    theirs = deployed_original(original)
    answers = work.trace("original kept", splits["kept"], theirs.answers).logits_BC
    encoder = original.encoder(len(texts.columns))
    config = yaml.safe_load(Path(CONFIG_DIR, "adapt.yaml").read_text("utf-8"))
    heads = parsed(OnePassSettings, config["heads"])
    learn_exits(encoder, splits, heads, work.folder, config["least_steps"])
    run = scratch_run(work.folder / "run", original, encoder, texts.columns)
    forms = Forms(original, encoder, run, 1)
    return Kept.of(forms, answers, work.folder, splits["kept"])


def row_of(kept: Kept, draws: list[Draw], task: str, agree: float, num_learn: int) -> AdaptRow:
    from scipy.stats import binomtest

    certified = [draw for draw in draws if draw.name]
    first = draws[0]
    interval = binomtest(first.fresh, max(first.num_fresh, 1)).proportion_ci(0.95)
    num_select, num_certify = (int(share * len(kept.original_NC)) for share in PARTS.values())
    return AdaptRow(
        task,
        f"{kept.encoder.shape.num_layers} layers of {kept.encoder.shape.hidden_size}",
        num_learn,
        num_select,
        num_certify,
        agree,
        CONFIDENCE,
        kept.same.changes,
        len(draws),
        len(certified),
        sum(draw.exits for draw in draws),
        sum(draw.share > 1 - agree for draw in draws),
        float(np.mean([draw.depth for draw in certified])) if certified else 0.0,
        first.name + (", exits" if first.exits else ""),
        first.depth,
        first.num_fresh,
        first.fresh,
        100 * interval.low,
        100 * interval.high,
        None,
        git_commit(),
    )


def main(step: str, *words: str) -> None:
    given = dict(word.split("=", 1) for word in words)
    folder, task, agree = Path(given["folder"]), given["task"], float(given.get("agree", 0.95))
    torch.set_num_threads(1)
    if step == "chosen":
        more = {key: int(given[key]) for key in ("most", "batch") if key in given}
        made = chosen_row(folder, task, TASKS[task], agree, **more)
        print(made)
        jsonl.update(HERE / "results" / "chosen.jsonl", ChosenRow, [made])
        return
    num_learn, num_kept = int(given.get("learn", 800)), int(given.get("kept", 1200))
    kept = passes(folder, task, num_learn, num_kept)
    if step == "redraws":
        demand = Demand(agree, CONFIDENCE)
        seeds = shown(range(int(given.get("draws", 200))), "draws")
        draws = [drawn(kept, demand, seed) for seed in seeds]
        row = row_of(kept, draws, task, agree, num_learn)
        path = HERE / "results" / "rows.jsonl"
        print(row)
        jsonl.update(path, AdaptRow, [row])


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
