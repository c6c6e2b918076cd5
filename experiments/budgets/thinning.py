"""One batch as it thins out: which examples run which layers, from a run's kept records.

    python -m experiments.budgets.thinning

Draws heads/batch.svg: the first 32 sentences of SST-2's dev set, as they come, under the exits
that were fitted for half of the cost (MPNet, 12 layers, seed 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.infer.recorded import Outcome
from eat_lightning.report.figures import INK, PAPER, SERIES, Figure, save
from eat_lightning.report.study import open_study

FOLDER = Path(__file__).parent / "heads"
SIZE, BUDGET = 32, 0.5
RIGHT, WRONG = SERIES[1], SERIES[0]


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, depth and right answers of the examples, deepest first."""
    rows = [m for m in open_study([str(FOLDER)]).measured if m.row.task == "sst2"]
    plain = [m for m in rows if m.row.seed == 1 and m.row.reduction["kind"] == "none"]
    outcome = next(m for m in plain if m.row.budget == BUDGET and m.row.dtype == "fp32").known
    return ordered(outcome)


def ordered(outcome: Outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right_B = outcome.logits_BC.argmax(1) == outcome.recorded.labels
    found = outcome.tokens_LB[0][:SIZE], outcome.depth_B[:SIZE], right_B[:SIZE]
    order_B = np.lexsort((found[0], found[1]))
    tokens_B, depth_B, right_B = (each[order_B] for each in found)
    return tokens_B, depth_B, right_B


def figure(tokens_B: np.ndarray, depth_B: np.ndarray, right_B: np.ndarray, layers: int) -> Figure:
    """Draw a bar for each example, as high as its tokens, through the layers that it runs."""
    tops_B = np.cumsum(tokens_B)
    spent = float((tokens_B * depth_B).sum() / (tokens_B.sum() * layers))

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        colors = [RIGHT if right else WRONG for right in right_B]
        ax.barh(
            tops_B - tokens_B,
            depth_B,
            tokens_B,
            align="edge",
            color=colors,
            edgecolor=PAPER,
            linewidth=0.6,
        )
        for layer in range(layers):
            left = int((depth_B > layer).sum())
            ax.text(layer + 0.5, tops_B[-1] * 1.02, str(left), ha="center", color=INK, fontsize=7)
        ax.set_xlim(0, layers)
        ax.set_xticks(np.arange(layers) + 0.5, [str(k + 1) for k in range(layers)])
        ax.set_yticks([])
        ax.set_xlabel("layer (above: sentences still in the batch)")
        ax.set_ylabel("sentences, as high as their tokens")
        ax.grid(False)

    caption = (
        f"The first {SIZE} sentences of SST-2's dev set, easy ones below. A row of tokens that has "
        f"left costs nothing: {100 * spent:.0f} % of the token-layers are run. Blue: answered "
        f"right ({int(right_B.sum())}); orange: wrong."
    )
    return Figure("batch", "A batch that thins out", caption, draw, (6.4, 3.0))


def main() -> None:
    drawn = figure(*batch(), layers=12)
    save(drawn, FOLDER, ["svg"])
    print(drawn.caption)


if __name__ == "__main__":
    main()
