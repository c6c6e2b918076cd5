"""Recorded passes, the operating points that are fitted on them, and the claims about these.

1. `passes.record` runs an encoder once with every exit open and returns a `Record`: the logits of
   every head for every row, and the tokens that enter each layer.
2. `Record.replay` returns the `Trace` that any `Point` would give, without running a model.
3. `dial_fit` (exits) and `list_fit` (lists) propose points from strict to lax. `dial.along` replays
   them, `Measured.of` measures cost and agreement, and a `Dial` holds those that get cheaper.
4. A `Claim` bounds the loss of early answers. It is tested on texts that were not used to choose,
   point by point from strict to lax, until one fails (`claim.holding`). A `Tally` counts changes.
5. A `Certificate` names the point, its claims, and all that they are valid for.

`eat certify` and `eat adapt` go through these steps (`deploy/certify`, `deploy/adapt`). Times come
from `timing` (settings that take turns) and `cost_table` (leaving at each exit).
"""
