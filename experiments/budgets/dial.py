"""Does the dial turn back? Four fits of it compared, on kept passes of dev and on runs' cuts.

    python -m experiments.budgets.dial run               # make the rows of dev anew; minutes
    python -m experiments.budgets.dial cut FOLDER...     # and those of finished runs' cuts
    python -m experiments.budgets.dial                   # the tables of the kept rows

Each pass is split at random in two, groups whole. A fit sees one part, 1,500 examples at most, and
is judged on the other at every budget. `each budget alone` is the fit of version 0.2.0, whose code
is gone: its rows are from commit 7009bdd and are kept as they are.

Shapes: B examples, E exits and the last layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from pandas import DataFrame, concat
from scipy.special import expit

from eat_lightning.data.calibration import FITTED_ON, group_ids
from eat_lightning.errors import reported
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.contracts import at_point
from eat_lightning.record.dial_fit import (
    ExitCosts,
    at_distance,
    fine_distances,
    fit_dial,
    full_depth_logits,
    leaving_distances,
    logistic,
    logits_at_exits,
)
from eat_lightning.report.intervals import mean_interval
from eat_lightning.report.study import open_study
from eat_lightning.runs.jsonl import read, write
from eat_lightning.weights.dial import Budget, Dial
from experiments.bench.tables import markdown
from experiments.budgets.limits import Dev, dev_of
from experiments.plane.models import open_model

HERE = Path(__file__).parent
ROWS, ON_CUT = HERE / "dial" / "rows.jsonl", HERE / "dial" / "cut.jsonl"
BUDGETS = (0.25, 0.33, 0.4, 0.5, 0.6, 0.7, 0.8)
FOLDERS = ("heads", "six", "epochs", "few", "results", "twelve")
SPLITS, MOST = 3, 1500
GONE = "each budget alone"


@dataclass(frozen=True)
class Trial:
    """Results of one fit on the part that it did not see, at each budget."""

    task: str
    layers: int
    run: str
    split: int
    fit: str
    budgets: list[float]
    cost: list[float]
    accuracy: list[float]
    agreement: list[float]


Depths = list[np.ndarray]  # of the judged examples, at each budget


def halves(dev: Dev, seed: int) -> tuple[Dev, Dev]:
    """Two parts, groups whole; of the first at most MOST examples."""
    known_B = dev.recorded.cluster_B
    known_B = np.arange(len(dev.recorded)) if known_B is None else known_B
    _, cluster_B = np.unique(known_B, return_inverse=True)
    place_B = np.random.default_rng(seed).permutation(cluster_B.max() + 1)[cluster_B]
    first_B = np.flatnonzero(place_B < (cluster_B.max() + 1) / 2)
    second_B = np.setdiff1d(np.arange(len(known_B)), first_B)
    first_B = np.sort(first_B[np.argsort(place_B[first_B], kind="stable")[:MOST]])
    return dev.rows(first_B), dev.rows(second_B)


def depths_at(dev: Dev, point: float | list[float]) -> np.ndarray:
    return dev.recorded.replay(at_point(dev.rule, point)).depth_B


def one_dial(cut: Dev, judged: Dev, budgets: Sequence[float]) -> Depths:
    """The dial that is built, all exits open: one chance to stay what full depth says, at each."""
    full = float(cut.cost_EB[-1].mean())
    dial = Dial(
        "share", fit_dial(cut.rule, cut.recorded, ExitCosts(cut.cost_EB / full), 1.0), MOST, {}
    )
    return [depths_at(judged, dial.at(Budget(budget)).exit) for budget in budgets]


def one_tau(cut: Dev, judged: Dev, budgets: Sequence[float]) -> Depths:
    """The same confidence at every exit, as it is."""
    taus = [at_distance(cut.rule.knob, d) for d in fine_distances(cut.rule.knob)]
    costs = [mean_cost(cut, depths_at(cut, tau)) for tau in taus]
    within = [next(i for i, cost in enumerate(costs) if cost <= budget) for budget in budgets]
    return [depths_at(judged, taus[i]) for i in within]


def hull(cut: Dev, judged: Dev, budgets: Sequence[float]) -> Depths:
    """The upper concave hull of points of every kind, full depth as its end; a budget between two
    of its points takes one of them for each example, by chance."""
    vectors, score_P2 = candidates(cut)
    kept: list[int] = []
    for i in np.lexsort((-score_P2[:, 1], score_P2[:, 0])):
        if kept and score_P2[i, 0] <= score_P2[kept[-1], 0]:
            continue
        while len(kept) > 1 and is_below(*score_P2[[kept[-2], kept[-1], i]]):
            kept.pop()
        kept.append(int(i))
    found, chance_B = [], np.random.default_rng(1).random(len(judged.recorded))
    for budget in budgets:
        k = int(np.searchsorted(score_P2[kept, 0], budget).clip(1, len(kept) - 1))
        low, high = score_P2[[kept[k - 1], kept[k]], 0]
        laxer_B, stricter_B = (depths_at(judged, vectors[kept[i]]) for i in (k - 1, k))
        found.append(np.where(chance_B < (budget - low) / (high - low), stricter_B, laxer_B))
    return found


def is_below(left: np.ndarray, middle: np.ndarray, right: np.ndarray) -> bool:
    """True where the middle of three points lies on or below the line through the others."""
    (x0, y0), (x1, y1), (x2, y2) = left, middle, right
    return (y1 - y0) * (x2 - x0) <= (y2 - y0) * (x1 - x0)


def candidates(cut: Dev) -> tuple[list[list[float]], np.ndarray]:
    """Shared points, and points for each exit at a grid of prices; for each its cost and the mean
    of its hits and of a logistic estimate of them."""
    knob, said = cut.rule.knob, cut.recorded
    distance_EB, cost_EB = leaving_distances(cut.rule, said), cut.cost_EB / cut.cost_EB[-1].mean()
    logits_EBC = np.concatenate([logits_at_exits(cut.rule, said), full_depth_logits(said)[None]])
    answers_EB = logits_EBC.argmax(-1)
    right_EB = (answers_EB == said.labels).astype(float)
    pairs = zip(layers(cut), right_EB, strict=True)
    smooth_EB = np.stack([estimate(said.guesses[k], right_B) for k, right_B in pairs])
    grid_G = np.array([0.0, *fine_distances(knob)])
    chosen = [np.full(len(distance_EB), g) for g in range(len(grid_G))]
    for share in (0.5, 1.0):
        value_EB = share * smooth_EB + (1 - share) * right_EB
        worths = [value_EB - price * cost_EB for price in (0.0, *np.geomspace(0.003, 4, 40))]
        chosen += [best_at(distance_EB, worth_EB, grid_G) for worth_EB in worths]
    scores, columns = [], np.arange(len(said))
    for points_E in chosen:
        place_B = places(distance_EB, grid_G[points_E])
        hits = (right_EB + smooth_EB)[place_B, columns].mean() / 2
        scores.append((cost_EB[place_B, columns].mean(), hits))
    vectors = [[at_distance(knob, d) for d in grid_G[points_E]] for points_E in chosen]
    return vectors, np.array(scores)


def layers(dev: Dev) -> list[int]:
    return [*dev.rule.layers, len(dev.recorded.tokens_LB)]


def estimate(logits_BC: np.ndarray, right_B: np.ndarray) -> np.ndarray:
    """P(right) by logistic regression on the log-odds of the confidence."""
    shifted_BC = np.exp(logits_BC - logits_BC.max(-1, keepdims=True).astype(float))
    confidence_B = (1 / shifted_BC.sum(-1)).clip(1e-6, 1 - 1e-6)
    odds_B = np.log(confidence_B / (1 - confidence_B))
    slope, intercept = logistic(odds_B, right_B)
    return expit(slope * odds_B + intercept)


def places(distance_EB: np.ndarray, far_E: np.ndarray) -> np.ndarray:
    """The exit at which each example leaves, E for the last layer."""
    leaves_EB = distance_EB <= far_E[:, None]
    return np.where(leaves_EB.any(0), leaves_EB.argmax(0), len(far_E))


def best_at(distance_EB: np.ndarray, worth_EB: np.ndarray, grid_G: np.ndarray) -> np.ndarray:
    """Improve one exit's point at a time, from the last to the first, three times."""
    points_E, columns = np.zeros(len(distance_EB), int), np.arange(distance_EB.shape[1])
    for _ in range(3):
        for e in reversed(range(len(points_E))):
            later_E = np.where(np.arange(len(points_E)) > e, grid_G[points_E], 0.0)
            stays_B = worth_EB[places(distance_EB, later_E), columns]
            here_B = places(distance_EB, grid_G[points_E]) >= e
            gain_B = np.where(here_B, worth_EB[e] - stays_B, 0.0)
            points_E[e] = ((distance_EB[e] <= grid_G[:, None]) @ gain_B).argmax()
    return points_E


FITS: dict[str, Callable[[Dev, Dev, Sequence[float]], Depths]] = {
    "one dial": one_dial,
    "hull": hull,
    "one tau": one_tau,
}


def mean_cost(dev: Dev, depth_B: np.ndarray) -> float:
    """Return the mean cost of the examples, as a share of full depth's."""
    place_B = np.searchsorted(layers(dev), depth_B)
    return float(dev.cost_EB[place_B, np.arange(len(place_B))].mean() / dev.cost_EB[-1].mean())


def trials(folders: Sequence[str]) -> Iterator[Trial]:
    """Every fit on every split of the passes that rows with budgets stand on."""
    study, seen = open_study([str(HERE / name) for name in folders]), set()
    for measured in study.measured:
        row = measured.row
        if not row.budget or row.reduction.kind != "none" or row.examples in (None, *seen):
            continue
        seen.add(row.examples)
        dev = dev_of(study, measured)
        yield from trials_of(dev, row.task, row.num_layers, row.examples)


def trials_on_cut(folders: Sequence[str]) -> Iterator[Trial]:
    """Every fit on every split of the cuts of finished runs, whose dev is not used. Costs are those
    of all heads asked."""
    for folder in folders:
        model = open_model(Path(folder).name, folder, Path("outputs/plane"))
        data, costs_EB = model.opened.data(), model.costs(model.cut, model.layers)
        texts = [data.split(part).source.texts for part in FITTED_ON]
        columns = [[*chain.from_iterable(column)] for column in zip(*texts, strict=True)]
        cluster_B, rule = group_ids(data.task, columns), Confidence(layers=model.layers[:-1])
        said = replace(model.cut, exit=rule, cluster_B=cluster_B)
        cut = Dev(rule, said, costs_EB / costs_EB[-1].mean(), 0.0)
        yield from trials_of(cut, model.task, model.last, model.run)


def trials_of(whole: Dev, task: str, layers: int, run: str) -> Iterator[Trial]:
    """Every fit on every split of one pass."""
    budgets = [b for b in BUDGETS if b > whole.cost_EB[0].mean() + 0.005]
    for split in range(SPLITS):
        cut, judged = halves(whole, split)
        for name, fit in FITS.items():
            given = task, layers, run, split, name, budgets
            yield Trial(*given, *means(judged, fit(cut, judged, budgets)))


def means(judged: Dev, depths: Depths) -> tuple[list[float], list[float], list[float]]:
    """Cost, accuracy and agreement at each budget."""
    said, full_B = judged.recorded, full_depth_logits(judged.recorded).argmax(-1)
    columns, cost, accuracy, agreement = np.arange(len(said)), [], [], []
    answers_EB = np.stack([said.guesses[k].argmax(-1) for k in layers(judged)])
    for depth_B in depths:
        answer_B = answers_EB[np.searchsorted(layers(judged), depth_B), columns]
        cost.append(round(mean_cost(judged, depth_B), 5))
        accuracy.append(round(float((answer_B == said.labels).mean()), 5))
        agreement.append(round(float((answer_B == full_B).mean()), 5))
    return cost, accuracy, agreement


def summary(found: Sequence[Trial]) -> DataFrame:
    """A line for each fit: steps to the next larger budget that turn back, and means."""
    lines = []
    for fit in dict.fromkeys(trial.fit for trial in found):
        own = [trial for trial in found if trial.fit == fit]
        gains = 100 * np.concatenate([np.diff(trial.accuracy) for trial in own])
        rises = np.concatenate([np.diff(trial.cost) for trial in own])
        asked, spent, right, stays = (
            np.concatenate([getattr(trial, name) for trial in own])
            for name in ("budgets", "cost", "accuracy", "agreement")
        )
        lines.append(
            {
                "fit": fit,
                "steps": str(len(gains)),
                "lose accuracy": str((gains < -1e-6).sum()),
                "more than 0.25": str((gains < -0.25).sum()),
                "more than 0.5": str((gains < -0.5).sum()),
                "spend falls": str((rises < -1e-6).sum()),
                "points": str(len(asked)),
                "under by 0.05": str((spent < asked - 0.05).sum()),
                "over by 0.02": str((spent > asked + 0.02).sum()),
                "spent": f"{spent.mean():.3f}",
                "accuracy": f"{100 * right.mean():.2f}",
                "agreement": f"{100 * stays.mean():.2f}",
            }
        )
    return DataFrame(lines)


def beside_dial(found: Sequence[Trial]) -> DataFrame:
    """Lines of `summary`, with the points that the dial is above each fit."""
    lines = summary(found)
    lines["the dial minus it"] = [dial_minus(fit, found) for fit in lines["fit"]]
    return lines


def dial_minus(fit: str, found: Sequence[Trial]) -> str:
    """Mean over runs of the dial's points above a fit, with its 95 % bootstrap interval over runs;
    empty for the dial itself."""
    right = {(t.run, t.split, t.fit): np.mean(t.accuracy) for t in found}
    above: dict[str, list[float]] = {}
    for run, split, name in right:
        if name == fit:
            difference = right[run, split, "one dial"] - right[run, split, fit]
            above.setdefault(run, []).append(100 * float(difference))
    means_R = np.array([np.mean(values) for values in above.values()])
    return "" if fit == "one dial" else mean_interval(means_R).text(sign="+")


def by_task(found: Sequence[Trial]) -> DataFrame:
    """The same lines for each task and number of layers."""
    tables = []
    for task, layers in sorted({(trial.task, trial.layers) for trial in found}):
        lines = summary([t for t in found if (t.task, t.layers) == (task, layers)])
        lines.insert(0, "passes", f"{task}, {layers} layers")
        tables.append(lines)
    return concat(tables)


def report(found: Sequence[Trial]) -> str:
    """Tables of the passes that every fit has seen, and of all passes."""
    common = {(trial.run, trial.split) for trial in found if trial.fit == GONE}
    shared = [trial for trial in found if (trial.run, trial.split) in common]
    title = f"All fits, {len(common)} splits of {len({run for run, _ in common})} passes:"
    parts = [title, markdown(beside_dial(shared)), markdown(by_task(shared))]
    rest = [trial for trial in found if trial.fit != GONE]
    title = f"All {len({t.run for t in rest})} passes, {SPLITS} splits of each:"
    parts += [title, markdown(beside_dial(rest)), markdown(by_task(rest))]
    return "\n\n".join(parts)


def report_of_cuts(found: Sequence[Trial]) -> str:
    """Tables of the runs whose cuts were split."""
    title = f"The cuts of {len({trial.run for trial in found})} runs, {SPLITS} splits of each:"
    return "\n\n".join([title, markdown(beside_dial(found)), markdown(by_task(found))])


def main(arguments: Sequence[str]) -> None:
    kept = read(ROWS, Trial, "trial")
    if "run" in arguments:
        old = [trial for trial in kept if trial.fit == GONE]
        kept = [*trials(FOLDERS), *old]
        write(ROWS, kept)
    if "cut" in arguments:
        made = [*trials_on_cut([a for a in arguments if a != "cut"])]
        runs = {trial.run for trial in made}
        write(ON_CUT, [*(t for t in read(ON_CUT, Trial) if t.run not in runs), *made])
    print(report(kept), report_of_cuts(read(ON_CUT, Trial)), sep="\n\n")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
