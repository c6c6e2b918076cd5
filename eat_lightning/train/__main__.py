"""`python -m eat_lightning.train`: fine-tune one run, or a sweep with -m.

A run's folder is named by its identity: a finished run is skipped, and a killed one resumes to the
same weights. Settings that change no weights (an exit rule, its tau) add a row to the same run.
"""

from __future__ import annotations

import os
from typing import Any

from eat_lightning.cli import entry

# oneDNN's kernels that are kept, of 1,024: every number of packed tokens wants its own, which with
# bf16 on AMX took 12 layers from 4 GB to 11 in 500 steps. With 128 it stayed at 3.6.
KERNELS = "256"


def train(config: dict[str, Any], overrides: list[str], multirun: bool = False) -> float | None:
    """Train a run and measure its setting; return its score on the selection split.

    A sweeper may maximise this score, since the dev set is used for reporting only.

    Raises:
        ConfigError: with one line per error, before any data or weights are loaded.
    """
    from eat_lightning.runs.run import Run, folder_for, state_of
    from eat_lightning.train.fit import fit, one_at_a_time
    from eat_lightning.train.measured import measure_setting
    from eat_lightning.train.plan import check_resume, planned, without_foreign_keys
    from eat_lightning.train.processes import is_first_process, quiet

    quiet()
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS)
    if multirun:
        config, overrides = without_foreign_keys(config, overrides)
    plan = planned(config)
    folder = folder_for(config, overrides)
    with one_at_a_time(folder):
        if state_of(folder, config) == "finished":
            print(f"{folder} is already trained (delete it to train it again)")
        else:
            check_resume(folder)
            fit(plan, Run(folder, config, done={}))
        if not is_first_process():
            return None
        run = Run.open(folder)
        measure_setting(run, plan)
    return run.done.get("selection_score")


main = entry(
    *("train", train),
    sweeps=True,
    kept="the same command resumes from the last checkpoint (every checkpoint_every steps; without "
    "one it starts again) and skips finished runs",
)

if __name__ == "__main__":
    main()
