"""How to write a method: one class that fills a slot, one yaml that names it and its arguments.

Read `base` first (arguments, parameters, knob), then the contract of your slot: `attention`,
`reduction`, `exit`, `head`, `policy`, `objective`, `schedule`, `risk`. A contract is a base class.
What is abstract must be written; every other hook does nothing until it is overridden.

    @method("reduction")
    class Shortest(Reduction):
        ratio: Points = 0.3          # an argument, its bounds and its default
        layers: Layers = (2, 4)

        needs = frozenset({"cls"})   # a hook that is a value
        knob = RATIO

        def __call__(self, packed, evidence, layer): ...

The shelf is `eat_lightning/methods/<slot>/<kind>.py`, with a yaml of the same name. A class from
outside the package is named by its path, as in `_target_: my_module.Shortest`.
"""

from eat_lightning.model.contracts.attention import Attention, Kernel, Where
from eat_lightning.model.contracts.base import (
    EncoderPart,
    Learner,
    Method,
    overrides,
    point_of,
    points_by_layer,
    turned,
)
from eat_lightning.model.contracts.exit import ExitRule, only_open
from eat_lightning.model.contracts.head import Head, VectorHead
from eat_lightning.model.contracts.knob import Knob
from eat_lightning.model.contracts.objective import Objective
from eat_lightning.model.contracts.policy import ModelFacts, Policy
from eat_lightning.model.contracts.reduction import Reduction
from eat_lightning.model.contracts.risk import Procedure, Risk
from eat_lightning.model.contracts.schedule import Schedule

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
    "Policy",
    "Procedure",
    "Reduction",
    "Risk",
    "Schedule",
    "VectorHead",
    "Where",
    "only_open",
    "overrides",
    "point_of",
    "points_by_layer",
    "turned",
]
