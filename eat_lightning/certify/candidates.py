"""The points that a certificate may choose from: chains from strict to lax, fixed beforehand.

A chain is one sequence of hypotheses, tested from its strict end until the first that fails
(`procedure/learn_then_test.py`): its points need no correction, be they as many as one likes. What
is not ordered by one sequence is another chain, and chains share the error:

* A tau that all exits share makes one chain.
* A tau for each exit would make a grid. Three chains of vectors stand for it, by `CAUTION`: from
  each exit to the one before, 1 - tau shrinks by a factor. 1 is the shared tau; 0 closes all exits
  but the last.
* Each pruning ratio has chains of its own. The full-depth answer that every risk compares with
  stays that of the run's own reduction, so what another ratio costs counts as well.

Every chain starts with the run at full depth, and nobody leaving at the chain's ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eat_lightning.measure.settings import STATIC, Setting
from eat_lightning.model.contracts import build, spec

# Finer where a calibrated guess is nearly sure, then every hundredth.
TAUS = (0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(50)))
CAUTION = {"shared": (1.0,), "each": (1.0, 0.5, 0.0)}


def chains_of(
    own: Setting,
    rule: dict[str, Any],
    taus: Sequence[float] = TAUS,
    exits: str = "shared",
    ratios: Sequence[float] | None = None,
) -> list[list[Setting]]:
    """Distinct chains. own: the run at full depth. rule: an exit rule with a tau and layers."""
    ordered = sorted(set(taus), reverse=True)
    chains: list[list[Setting]] = []
    for reduction in reductions(own.reduction, ratios):
        for caution in CAUTION[exits]:
            rules = [STATIC["exit"], *(cautious(rule, tau, caution) for tau in ordered)]
            points = [replace(own, reduction=reduction, exit=build("exit", r)) for r in rules]
            chains.append([own, *points] if points[0].specs != own.specs else points)
    named = {str([point.specs for point in chain]): chain for chain in chains}
    return list(named.values())


def reductions(own: Any, ratios: Sequence[float] | None) -> list[Any]:
    if ratios is None:
        return [own]
    return [build("reduction", spec("reduction", own) | {"ratio": ratio}) for ratio in ratios]


def cautious(rule: dict[str, Any], tau: float, caution: float) -> dict[str, Any]:
    """The rule at `tau`, with 1 - tau times `caution` for each exit earlier than the last; an exit
    for which nothing is left is closed."""
    layers = rule["layers"]
    before = range(len(layers) - 1, -1, -1)
    taus = {k: round(1 - (1 - tau) * caution**n, 9) for k, n in zip(layers, before, strict=True)}
    kept = {k: t for k, t in taus.items() if t < 1}
    shared = len({*kept.values()}) == 1
    return rule | {"tau": tau if shared else [*kept.values()], "layers": [*kept]}
