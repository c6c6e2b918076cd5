"""Candidates of a certificate: chains of points from strict to lax, fixed in advance.

A chain is a sequence of hypotheses, tested from the strict end until the first one that fails
(fixed-sequence testing, `record/claim.py`). Its points need no correction, however many there are.
Points without a common order form several chains, which share the error:

* A threshold shared by all exits gives one chain.
* A threshold per exit would give a grid. It is represented by three chains of vectors, by
`CAUTION`:
  from each exit to the one before, the distance to the strict end shrinks by this factor. 1 is the
  shared threshold; 0 closes all exits but the last.
* Each strength of the reduction has its own chains. All risks compare with full depth under the
run's
  own reduction, so changes caused by another strength count as well.
* The dial gives one chain, from full depth to the point of a budget or of an agreement. It was
fitted
  on examples that certificates do not read.

Every chain starts with the run at full depth, followed by full depth under the chain's reduction.
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
    """Return distinct chains.

    Args:
        full: the run at full depth.
        rule: an exit rule with a threshold.
        points: thresholds; None: the rule's grid.
        ratios: strengths of the reduction; None: the current one.
    """
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
    """Return the rule at a threshold whose distance to the strict end is multiplied by `caution`
    for each exit before the last. Exits with no distance left are closed.
    """
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
    """True if a rule is nowhere laxer than the trained one. Graphs with the trained rule can then
    run it, because it only delays exits.
    """
    if isinstance(rule, Never):
        return True
    knob: Any = trained.knob
    least, points = points_by_layer(trained), points_by_layer(rule)
    return all(abs(p - knob.strict) <= abs(least[k] - knob.strict) for k, p in points.items())
