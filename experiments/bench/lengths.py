"""How long a study's examples are, and how sure its models were: what the bench draws from.

    python -m experiments.bench.lengths STUDY > experiments/bench/lengths.json

STUDY is a folder that `eat_lightning.report` wrote. Of each task: for each length the number of
examples in each tenth by confidence at the last exit before the end, the surest tenth first.
"""

import json
import sys
from typing import Any

import numpy as np
import torch

from eat_lightning.report.study import open_study

TENTHS = 10


def histogram(recorded: Any) -> dict[str, list[int]] | None:
    """None where no exit lies before the end."""
    early = [layer for layer in recorded.guesses if layer < len(recorded.tokens_LB)]
    if not early:
        return None
    sure_B = torch.from_numpy(recorded.guesses[max(early)]).float().softmax(-1).amax(-1).numpy()
    surest_first = np.argsort(-sure_B, kind="stable")
    tenth_B = np.empty(len(sure_B), int)
    tenth_B[surest_first] = np.arange(len(sure_B)) * TENTHS // len(sure_B)
    return {
        str(length): np.bincount(tenth_B[recorded.lengths == length], minlength=TENTHS).tolist()
        for length in np.unique(recorded.lengths)
    }


def main() -> None:
    tasks: dict[str, Any] = {}
    for measured in open_study(sys.argv[1:]).measured:
        if measured.outcome is not None and (found := histogram(measured.record)):
            tasks[measured.row.task] = found
    print(json.dumps(tasks, separators=(",", ":")).replace('},"', '},\n"'))


if __name__ == "__main__":
    main()
