"""The points that a certificate may choose from: chains from strict to lax, fixed beforehand.

A chain is one sequence of hypotheses, tested from its strict end until the first that fails
(`record/claim.py`): its points need no correction, be they as many as one likes. What
is not ordered by one sequence is another chain, and chains share the error:

* A point of the exit rule's knob that all exits share makes one chain.
* A point for each exit would make a grid. Three chains of vectors stand for it, by `CAUTION`: from
  each exit to the one before, the distance to the strict end shrinks by a factor. 1 is the shared
  point; 0 closes all exits but the last.
* Each point of the reduction's knob has chains of its own. The full-depth answer that every risk
  compares with stays that of the run's own reduction, so what another one costs counts as well.

* The dial makes one chain, from full depth to the point of a budget or of a share of unchanged
  answers. It was fitted on examples that certificates do not see.

Every chain starts with the run at full depth, and nobody leaving under the chain's reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import points_by_layer
from eat_lightning.model.specification import STATIC, Specification
from eat_lightning.record.point import Point

CAUTION = {"shared": (1.0,), "each": (1.0, 0.5, 0.0)}


def chains_of(
    full: Point,
    rule: Any,
    points: Sequence[float] | None = None,
    exits: str = "shared",
    ratios: Sequence[float] | None = None,
) -> list[list[Point]]:
    """Distinct chains. full: the run at full depth. rule: an exit rule with a knob. points: of its
    knob, None for the knob's own. ratios: points of the reduction's knob, None for where it is."""
    knob: Any = rule.knob
    ordered = sorted({*(points or knob.fine)}, key=lambda point: abs(point - knob.strict))
    chains: list[list[Point]] = []
    own = full.methods["reduction"]
    reductions = [own]
    if ratios is not None:
        name = full.built["reduction"].knob.name
        reductions = [own.changed({name: ratio}) for ratio in ratios]
    for reduction in reductions:
        for caution in CAUTION[exits]:
            rules = [STATIC["exit"], *(cautious(rule, point, caution) for point in ordered)]
            chain = [full.at(reduction=reduction, exit=each) for each in rules]
            chains.append(chain if chain[0] == full else [full, *chain])
    return [chain for place, chain in enumerate(chains) if chain not in chains[:place]]


def cautious(rule: Any, point: float, caution: float) -> Specification:
    """The rule with its knob at `point`, whose distance to the strict end is multiplied by
    `caution` for each exit earlier than the last; an exit for which nothing is left is closed."""
    knob: Any = rule.knob
    layers, points = rule.layers, {}
    for layer, num_after in zip(layers, range(len(layers) - 1, -1, -1), strict=True):
        at_layer = round(knob.strict + (point - knob.strict) * caution**num_after, 9)
        if at_layer != knob.strict:
            points[layer] = at_layer
    if not points:
        return STATIC["exit"]
    shared = len({*points.values()}) == 1
    given = {knob.name: point if shared else [*points.values()], "layers": [*points]}
    made = Specification.of("exit", rule).changed(given).build()
    return Specification.of("exit", made)


def is_reachable(rule: Any, trained: Any) -> bool:
    """True where a rule is nowhere laxer than `own`. Graphs that hold `own` can then be run under
    the rule: it only makes examples leave later."""
    if isinstance(rule, Never):
        return True
    knob: Any = trained.knob
    least, points = points_by_layer(trained), points_by_layer(rule)
    return all(abs(p - knob.strict) <= abs(least[k] - knob.strict) for k, p in points.items())
