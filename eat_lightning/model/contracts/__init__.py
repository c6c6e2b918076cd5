"""How to write a method: one class that fills a slot, one yaml that names it and its arguments.

Begin with `python -m eat_lightning.new <slot> <name>` for an attention, a reduction, an exit, a
head, an objective or a schedule: it writes the class with its imports, its yaml and its test. Then
read `Method` in `model/method.py` (arguments, names) and `base` (parameters, penalties), and the
contract of your slot: `attention`, `reduction`, `exit`, `head`, `objective`, `schedule`, or
`model/policy.py`. A contract is a base class. What is abstract must be written; every other hook
does nothing until it is overridden.

    @method("reduction")            # eat_lightning.model.method
    class MostSeen(Reduction):
        ratio: Points = 0.3         # an argument, its bounds (eat_lightning.validation)
        layers: Layers = (2, 4)

        needs = frozenset({"cls"})  # a hook that is a value
        knob = RATIO                # eat_lightning.methods.reduction._topk

        def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
            return keep_ratio(packed, evidence.cls_N, ratio_at(layer, self.ratio, self.layers))

    # <folder>/reduction/most_seen.yaml
    _target_: my_module.MostSeen
    ratio: 0.3
    layers: [2, 4]

    export EAT_IMPORT=my_module     # `measure` and the others import no other module of yours
    eat train --config-dir <folder> reduction=most_seen ...

A ratio is the share of an example's rows without [CLS] that goes at each of `layers`, rounded down.
[CLS] must stay; other special tokens are rows like any other.

A head's yaml has `kind: my_module.MaxLinear` in place of `_target_`, and `layers`. With `model=eat`
the error "head.pool is not an option of my_module.MaxLinear" means that the preset sets an argument
which the head lacks: `~head.pool` removes it. `bind` makes a head's parameters from the sizes in
`model/shape.py`, such as `shape.hidden_size`; each exit layer has its head.

A batch is packed: the rows of all its examples lie end to end, without padding. `packed.x_ND` are
their vectors, `packed.layout.segment_N` is the example of each row, `index_N` its place there (0 is
[CLS]), `lengths_B` the rows of each example, on the host. `layout.pad` and `unpad` go to B x L and
back. Nothing may be summed, sorted or shifted over N alone, since N holds all examples.

What the package's methods share, for a method to use: `methods/reduction/_topk.py` (`keep_ratio`
keeps the highest scores and obeys `packed.strength_B`, 0 to 1, with which training anneals),
`_gates.py` (`keep_where(packed, stays_N)`, which does not: add `| (packed.strength_B ==
0)[segment_N]`; soft gates), `_merged.py`; `methods/exit/_points.py` (the point of an exit) and
`_scores.py` (entropy, lead); `model/heads.py` (`POOLS`); `methods/objective/_losses.py`. The
package's methods are in `eat_lightning/methods/<slot>/<kind>.py`, each with a yaml of the same
name.
"""

from eat_lightning.model.contracts.attention import Attention, Kernel, Where
from eat_lightning.model.contracts.base import (
    EncoderPart,
    Knob,
    Learner,
    at_point,
    point_of,
    points_by_layer,
)
from eat_lightning.model.contracts.exit import ExitRule, only_open, open_layers, with_layers
from eat_lightning.model.contracts.head import Head, VectorHead
from eat_lightning.model.contracts.objective import Objective, Pass
from eat_lightning.model.contracts.reduction import Reduction
from eat_lightning.model.contracts.schedule import Schedule, Stage
from eat_lightning.model.method import Method, overrides
from eat_lightning.model.policy import ModelFacts, Policy

__all__ = [
    "Attention",
    "EncoderPart",
    "ExitRule",
    "Head",
    "Kernel",
    "Knob",
    "Learner",
    "Method",
    "ModelFacts",
    "Objective",
    "Pass",
    "Policy",
    "Reduction",
    "Schedule",
    "Stage",
    "VectorHead",
    "Where",
    "at_point",
    "only_open",
    "open_layers",
    "overrides",
    "point_of",
    "points_by_layer",
    "with_layers",
]
