"""How often a certificate is broken, beside a threshold that is chosen by eye; policies' rows.

    python -m experiments.guarantees.run draws record=FILE task=qqp model="MPNet, 12 layers"
    python -m experiments.guarantees.run policies study=outputs/frontier

`draws`: the examples of a recorded pass are the population, whose risk at every threshold is known.
Calibration samples are drawn from it with replacement, and a threshold is chosen on each: by
`certify`'s test, or as the laxest of those up to which no risk on the sample was above the level.
`policies` keeps what `eat measure run=... exit.tau=0.8 policy=...` found.

Shapes: T thresholds from strict to lax, N examples of the population, D draws.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from eat_lightning.errors import reported
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.record.claim import Claim, disagreement, holding
from eat_lightning.record.record import Record
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.report.study import open_study
from eat_lightning.runs import row
from eat_lightning.runs.run import git_commit
from experiments.study import run_step

RESULTS = Path(__file__).with_name("results")
CONFIDENCE, DRAWS = 0.9, 2000
LEVELS, SIZES = (0.01, 0.02), (300, 1000, 3000)


def population(recorded: Record) -> tuple[np.ndarray, np.ndarray]:
    """Losses T x N against full depth, and mean layers T; the first point is full depth itself."""
    layers = sorted(recorded.guesses)[:-1]
    rules = [Never(), *(Confidence(tau=tau, layers=layers) for tau in Confidence.knob.fine)]
    outcomes = [recorded.replay(rule) for rule in rules]
    answers = [outcome.logits_BC.argmax(-1) for outcome in outcomes]
    losses = [disagreement(answers[0], each, recorded.labels) for each in answers]
    return np.stack(losses), np.array([outcome.depth_B.mean() for outcome in outcomes])


def chosen(losses_TN: np.ndarray, num: int, level: float) -> dict[str, np.ndarray]:
    """The point that each way chooses on each of so many draws (D); 0: full depth."""
    found: dict[str, list[int]] = {"certified": [], "by eye": []}
    claim = Claim("disagreement", level, CONFIDENCE)
    for seed in range(DRAWS):
        rows = np.random.default_rng(seed).integers(losses_TN.shape[1], size=num)
        sample_TN = losses_TN[:, rows]
        p_T = claim.p_values(sample_TN, binary=True)
        points = [*holding(range(len(p_T)), lambda t, p_T=p_T: float(p_T[t]), claim.error)]
        found["certified"].append(max(len(points) - 1, 0))
        holds_T = sample_TN.mean(1) <= level
        found["by eye"].append(int(holds_T.cumprod().sum()) - 1)
    return {way: np.array(points) for way, points in found.items()}


def draws(record: str, task: str, model: str) -> None:
    """Keep how often each way is broken on a recorded pass."""
    found = draws_of(Record.read(Path(record)), {"task": task, "model": model})
    result.update(RESULTS / "draws.jsonl", found)


def draws_of(recorded: Record, about: dict[str, str]) -> Iterator[Result]:
    losses_TN, depth_T = population(recorded)
    risk_T, where = losses_TN.mean(1), {"population": losses_TN.shape[1], "layers": depth_T[0]}
    where |= {"confidence": CONFIDENCE, "draws": DRAWS, "risk": "disagreement"}
    for level in LEVELS:
        best = int((risk_T <= level).cumprod().sum()) - 1
        for num in SIZES:
            for way, points_D in chosen(losses_TN, num, level).items():
                broken = int((risk_T[points_D] > level).sum())
                ends = binomtest(broken, DRAWS).proportion_ci(0.95)
                values = {
                    "broken": broken,
                    "broken_share": Interval(broken / DRAWS, ends.low, ends.high),
                    "depth": float(depth_T[points_D].mean()),
                    "changed": float(risk_T[points_D].mean()),
                    "best_depth": float(depth_T[best]),
                }
                what = about | {"level": level, "num": num, "way": way}
                yield Result(what, values, where | {"commit": git_commit()})


def policies(study: str) -> None:
    """Keep rows of the first seed at tau 0.8 that say why examples were answered."""
    paths = [f"{study}/*/{name}.jsonl" for name in ("rows", "rows-policy")]
    found = [m.row for m in open_study(paths).measured if not m.row.baseline]
    wanted = [r for r in found if r.exit_reasons and (r.point, r.seed) == (0.8, 1)]
    row.write(RESULTS / "policies.jsonl", wanted)


if __name__ == "__main__":
    with reported():
        run_step(sys.argv[1:], draws, policies)
