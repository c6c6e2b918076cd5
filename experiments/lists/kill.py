"""Does dropping candidates between layers beat fewer candidates and fewer layers?

    python -m experiments.lists.kill vectors=FOLDER set=qnli|trec

Heads of every depth learn the original's scores on the lists of `learn`, without a label. Rules are
chosen on `select` and judged on `test`, for TREC by leaving a third of the learning lists out.
`kept`: the share of the original's ten best candidates that the ten returned hold.
Cost: tokens times layers over those of the whole list at full depth.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

KEEP = 10
SIZES = (10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 100)
WIDTH, EPOCHS, LR = 256, 12, 1e-3


@dataclass
class Kept:
    """Kept vectors of some lists: `F_QNE2D`, and (lists, candidates) of everything else."""

    F: torch.Tensor
    score: np.ndarray
    tokens: np.ndarray
    prior: np.ndarray
    grade: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Kept:
        with np.load(path) as kept:
            return cls(
                torch.tensor(kept["F"]), *(kept[n] for n in ("score", "tokens", "prior", "grade"))
            )

    def part(self, rows: np.ndarray) -> Kept:
        return Kept(
            self.F[rows], *(v[rows] for v in (self.score, self.tokens, self.prior, self.grade))
        )

    def __len__(self) -> int:
        return len(self.score)


def joined(some: list[Kept]) -> Kept:
    fields = ("score", "tokens", "prior", "grade")
    rest = (np.concatenate([getattr(kept, name) for kept in some]) for name in fields)
    return Kept(torch.cat([kept.F for kept in some]), *rest)


def read_of(kept: Kept, rows: np.ndarray) -> torch.Tensor:
    """Features of the heads: [u, v, |u - v|, u * v] of query and passage, and the first stage's z-score."""
    u, v = kept.F[rows].float().unbind(3)
    u, v = F.layer_norm(u, u.shape[-1:]), F.layer_norm(v, v.shape[-1:])
    prior = torch.tensor(kept.prior[rows]).float()
    prior = (prior - prior.mean(1, keepdim=True)) / (prior.std(1, keepdim=True) + 1e-6)
    prior_QNE1 = prior[:, :, None, None].expand(*u.shape[:3], 1)
    return torch.cat([u, v, (u - v).abs(), u * v, prior_QNE1], -1)


class ListHeads(torch.nn.Module):
    """A head for each depth: read_QNER -> scores_QNE."""

    def __init__(self, depths: int, width: int) -> None:
        super().__init__()
        self.A = torch.nn.Parameter(torch.randn(depths, width, WIDTH) * width**-0.5)
        self.a = torch.nn.Parameter(torch.zeros(depths, WIDTH))
        self.B = torch.nn.Parameter(torch.randn(depths, WIDTH) * WIDTH**-0.5 * 0.1)
        self.b = torch.nn.Parameter(torch.zeros(depths))

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        read = F.dropout(read, 0.1, self.training)
        hidden = torch.tanh(torch.einsum("qner,erw->qnew", read, self.A) + self.a)
        return torch.einsum("qnew,ew->qne", F.dropout(hidden, 0.1, self.training), self.B) + self.b


def learned(kept: Kept, lists: int = 4) -> ListHeads:
    """Heads after learning: squared error of the standardised score, and the order in the list."""
    torch.manual_seed(0)
    mean, scale = kept.score.mean(), kept.score.std()
    goal_QN = torch.tensor((kept.score - mean) / scale).float()
    heads = ListHeads(kept.F.shape[2], 4 * kept.F.shape[-1] + 1)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=LR, weight_decay=0.05)
    steps = EPOCHS * (len(kept) // lists)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps, pct_start=0.1)
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(kept))
        for start in range(0, len(order) - lists + 1, lists):
            rows = order[start : start + lists]
            guess = heads(read_of(kept, rows))
            goal = goal_QN[rows][:, :, None].expand_as(guess)
            spread = goal.std(1, keepdim=True)
            order_loss = (
                F.kl_div(
                    (2 * guess / spread).log_softmax(1),
                    (2 * goal / spread).softmax(1),
                    reduction="none",
                )
                .sum(1)
                .mean()
            )
            loss = F.mse_loss(guess, goal) + order_loss
            optimizer.zero_grad()
            (loss * guess.shape[-1]).backward()
            optimizer.step()
            plan.step()
    return heads.eval()


def guesses(heads: ListHeads, kept: Kept) -> np.ndarray:
    """Scores of every depth (lists, candidates, depths + 1), the original's own last."""
    with torch.no_grad():
        found = [heads(read_of(kept, np.array([row]))) for row in range(len(kept))]
    return np.concatenate([torch.cat(found).numpy(), kept.score[:, :, None]], 2)


def top(scores_QN: np.ndarray) -> np.ndarray:
    return np.argsort(-scores_QN, 1, kind="stable")[:, :KEEP]


def kept_share(chosen_QK: np.ndarray, wanted_QK: np.ndarray) -> np.ndarray:
    return (chosen_QK[:, :, None] == wanted_QK[:, None, :]).any(2).mean(1)


def grid(guess_QNE: np.ndarray, tokens_QN: np.ndarray) -> dict[tuple[int, int], tuple]:
    """(candidates, depth) -> kept and cost of each list."""
    wanted, layers = top(guess_QNE[:, :, -1]), guess_QNE.shape[2] - 1
    whole, out = tokens_QN.sum(1) * layers, {}
    for size, depth in itertools.product(SIZES, range(layers + 1)):
        share = kept_share(top(guess_QNE[:, :size, depth]), wanted)
        out[size, depth] = share, tokens_QN[:, :size].sum(1) * depth / whole
    return out


def fallen(
    guess_QNE: np.ndarray, tokens_QN: np.ndarray, alive_after
) -> tuple[np.ndarray, np.ndarray]:
    """Kept and cost when `alive_after(scores_QN, alive_QN, depth)` says who goes on."""
    layers = guess_QNE.shape[2] - 1
    alive = np.ones(tokens_QN.shape, bool)
    depth_QN, cost = np.zeros(tokens_QN.shape), np.zeros(len(tokens_QN))
    for depth in range(layers):
        alive &= alive_after(guess_QNE[:, :, depth], alive, depth)
        cost += (tokens_QN * alive).sum(1)
        depth_QN[alive] = depth + 1
    reached = np.take_along_axis(guess_QNE, depth_QN[:, :, None].astype(int), 2)[:, :, 0]
    order = np.lexsort((-reached, -depth_QN), axis=1)[:, :KEEP]
    return kept_share(order, top(guess_QNE[:, :, -1])), cost / (tokens_QN.sum(1) * layers)


def by_rank(counts: dict[int, int]):
    """Keep a fixed number at some depths (Cascade Transformer)."""

    def alive_after(scores, alive, depth):
        if depth not in counts:
            return alive
        rank = np.argsort(np.argsort(-np.where(alive, scores, -np.inf), 1, kind="stable"), 1)
        return alive & (rank < counts[depth])

    return alive_after


def by_gap(bound_E: np.ndarray):
    """Drop whose score lies further than bound below the tenth best of those alive."""

    def alive_after(scores, alive, depth):
        some = np.where(alive, scores, -np.inf)
        tenth = -np.sort(-some, 1)[:, KEEP - 1 : KEEP]
        return alive & (scores >= tenth - bound_E[depth])

    return alive_after


def bounds(guess_QNE: np.ndarray, lost: float) -> np.ndarray:
    """Gap to the tenth best below which the share `lost` of the wanted lie, for each depth."""
    wanted, out = top(guess_QNE[:, :, -1]), []
    for depth in range(guess_QNE.shape[2] - 1):
        scores = guess_QNE[:, :, depth]
        tenth = -np.sort(-scores, 1)[:, KEEP - 1 : KEEP]
        gap = tenth - np.take_along_axis(scores, wanted, 1)
        out.append(max(0.0, np.quantile(gap, 1 - lost)))
    return np.array(out)


def schedules() -> list[dict[int, int]]:
    out = []
    for a, b, c in itertools.product(
        (100, 80, 60, 50), (100, 70, 50, 40, 30), (70, 50, 40, 30, 20)
    ):
        for x, y, z in ((0, 1, 3), (0, 2, 4), (1, 2, 4), (0, 1, 2), (0, 2, 3)):
            for d in (100, 30, 20, 15):
                if a >= b >= c:
                    out.append({x: a, y: b, z: c, 5: min(c, d)})
    return out


def interval(values: np.ndarray) -> tuple[float, float]:
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(2000)]
    return tuple(np.quantile(means, [0.025, 0.975]))


def main(vectors: str, set: str = "qnli") -> None:
    torch.set_num_threads(1)
    folder = Path(vectors)
    learn = Kept.read(folder / "learn.npz")
    if set == "trec":
        some = Kept.read(folder / "trec_learn.npz")
        order = np.random.default_rng(0).permutation(len(some))
        select, test = some.part(order[:32]), Kept.read(folder / "trec_test.npz")
        learn = joined([learn, *[some.part(order[32:])] * 2])
    else:
        select, test = Kept.read(folder / "select.npz"), Kept.read(folder / "test.npz")
    heads = learned(learn)
    found = {"select": (guesses(heads, select), select), "test": (guesses(heads, test), test)}
    from .data import ndcg

    for name, (guess, kept) in found.items():
        first = np.tile(np.arange(kept.score.shape[1]), (len(kept), 1))
        print(
            name,
            len(kept),
            "nDCG@10 first stage",
            round(ndcg(first, kept.grade).mean(), 4),
            "kept",
            round(kept_share(first[:, :KEEP], top(kept.score)).mean(), 3),
        )
        for depth in range(guess.shape[2]):
            order = np.argsort(-guess[:, :, depth], 1, kind="stable")
            share = kept_share(order[:, :KEEP], top(kept.score)).mean()
            in30 = kept_share2(order[:, :30], top(kept.score))
            print(
                f"  depth {depth}: nDCG@10 {ndcg(order, kept.grade).mean():.4f}, kept in 10 {share:.3f}, in 30 {in30:.3f}"
            )
    guess, kept = found["select"]
    guess_t, kept_t = found["test"]
    on_grid, on_grid_t = grid(guess, kept.tokens), grid(guess_t, kept_t.tokens)
    rules = {
        f"gap {lost}": by_gap(bounds(guess, lost))
        for lost in (0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005)
    }
    rules |= {f"rank {counts}": by_rank(counts) for counts in schedules()}
    on_rules = {name: fallen(guess, kept.tokens, rule) for name, rule in rules.items()}
    for cost in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7):
        line = [f"cost {cost}"]
        best = max(
            (k for k in on_grid if on_grid[k][1].mean() <= cost), key=lambda k: on_grid[k][0].mean()
        )
        line.append(
            f"grid {best} kept {on_grid_t[best][0].mean():.3f} at {on_grid_t[best][1].mean():.3f}"
        )
        for kind in ("gap", "rank"):
            able = [k for k in on_rules if k.startswith(kind) and on_rules[k][1].mean() <= cost]
            if not able:
                continue
            name = max(able, key=lambda k: on_rules[k][0].mean())
            share, spent = fallen(guess_t, kept_t.tokens, rules[name])
            low, high = interval(share - on_grid_t[best][0])
            line.append(
                f"{name}: {share.mean():.3f} at {spent.mean():.3f} ({low:+.3f} to {high:+.3f})"
            )
        print("; ".join(line))


def kept_share2(chosen: np.ndarray, wanted: np.ndarray) -> float:
    return float((chosen[:, :, None] == wanted[:, None, :]).any(1).mean())


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
