"""Expected cost by the paper's formulas (EAT, section 5), in FLOPs (2 x MAC).

(4): a dense layer costs alpha E[T^2] + beta E[T]. (5): under EAT it costs
Pr(L' >= l) (alpha' E[T_l] k + beta E[T_l]); where attention is dense, alpha E[T_l^2] stands for the
first term. alpha = alpha' = 4 d, for both attention products, and beta = 8 d^2 + 4 d d_ff, for
projections and feed-forward. Shapes: L layers, B examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eat_lightning.report.study import KeptRow, Study


@dataclass(frozen=True)
class Expected:
    """Terms of the formulas.

    These are the coefficients in FLOPs, the tokens that enter each layer without exits (mean and
    mean square over examples), Pr(L' >= l), and the window k if any. `ran` is the share of
    token-layers that examples actually ran, for comparison.
    """

    alpha: float
    beta: float
    tokens_L: np.ndarray
    squares_L: np.ndarray
    stays_L: np.ndarray
    ran: float
    window: int | None = None

    @property
    def dense(self) -> float:
        """Formula (4)."""
        return len(self.tokens_L) * (self.alpha * self.squares_L[0] + self.beta * self.tokens_L[0])

    @property
    def adaptive(self) -> float:
        """Formula (5)."""
        pairs_L = self.squares_L if self.window is None else self.tokens_L * self.window
        return float((self.stays_L * (self.alpha * pairs_L + self.beta * self.tokens_L)).sum())

    @property
    def terms(self) -> dict[str, float]:
        """Return the terms of the formulas by name.

        `ratio` is (5) / (4). `active` is the paper's p-bar, the mean over layers of Pr(L' >= l);
        `kept` is its r-bar, the mean of E[T_l] / T; `product` is p-bar times r-bar, the estimated
        share of token-layers. `tokens` is the initial number, `attention` the quadratic term's
        share of a dense layer, and `too_long` says whether the window exceeds the text.
        """
        first, layers = self.tokens_L[0], len(self.tokens_L)
        return {
            "ratio": self.adaptive / self.dense,
            "active": self.stays_L.mean(),
            "kept": self.tokens_L.mean() / first,
            "product": (self.stays_L * self.tokens_L).mean() / first,
            "ran": self.ran,
            "tokens": first,
            "attention": self.alpha * self.squares_L[0] * layers / self.dense,
            "too_long": self.window is not None and self.window > first,
        }


def expected(study: Study, measured: KeptRow) -> Expected | None:
    """Return the terms for a row, or None without stored examples. Without the run, alpha is 0 and
    beta 1, which reduces the ratio of the formulas to that of token-layers.
    """
    outcome, row = measured.outcome, measured.row
    if outcome is None:
        return None
    tokens_LB = measured.record.tokens_LB.astype(np.float64)
    leaves_L = np.array([row.exit_shares.get(str(k), 0.0) for k in range(1, row.num_layers + 1)])
    stays_L = 1 - np.concatenate([[0.0], leaves_L.cumsum()[:-1]])
    alpha, beta = coefficients(study, measured) or (0.0, 1.0)
    ran = float(outcome.tokens_LB.sum() / (tokens_LB[0].sum() * len(tokens_LB)))
    mean_L, square_L = tokens_LB.mean(1), (tokens_LB**2).mean(1)
    window = row.attention.arguments.get("window")
    return Expected(alpha, beta, mean_L, square_L, stays_L, ran, window)


def coefficients(study: Study, measured: KeptRow) -> tuple[float, float] | None:
    """Return alpha and beta of the run's backbone; None for rows that were stored without their
    run.
    """
    from eat_lightning.weights.checkpoint import read_config

    run = study.run_of(measured)
    if run is None or not (run.folder / "model" / "config.json").is_file():
        return None
    shape = read_config(run.folder / "model")
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    return 4.0 * width, 8.0 * width**2 + 4.0 * width * inner
