"""Exit rules on one record: at which layer the sentences of a real run leave under each."""

from __future__ import annotations

import numpy as np

from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.specification import build, class_of
from experiments.site import how
from experiments.site.canvas import Canvas

OTHERS = ("fixed", "never")  # which have no layers to choose


def leaving(kind: str) -> how.Picture | None:
    """The rule with its default settings at every exit; None where it reads more than logits, or
    answers of another kind."""
    cls = class_of("exit", kind)
    if kind in OTHERS or cls.observe is not ExitRule.observe or SINGLE not in cls.kinds:
        return None
    rule = build("exit", {"kind": kind, "layers": tuple(range(how.NUM_LAYERS))})
    depth_B = how.at_budget(how.BUDGET).record.replay(rule).depth_B
    shares = 100 * np.bincount(depth_B, minlength=how.NUM_LAYERS + 1) / len(depth_B)

    def draw(c: Canvas) -> None:
        column, top, bottom = (how.WIDTH - 20) / len(shares), 50, 150
        c.text(10, 18, f"sentences that leave at each layer (%), mean {depth_B.mean():.1f}")
        for layer, share in enumerate(shares):
            x, tall = 10 + column * layer, share * (bottom - top) / shares.max()
            c.box(x, bottom - tall, column - 2, tall, "blue")
            if share >= 0.5:
                c.text(x + column / 2 - 1, bottom - tall - 5, f"{share:.0f}", "ink", "middle")
            c.text(x + column / 2 - 1, bottom + 16, str(layer), "muted", "middle")

    words = (
        f"{len(depth_B)} sentences of SST-2's dev set in twelve layers, with the rule's default "
        "settings at every exit. Layer 0 is before the first one. No accuracy is compared here."
    )
    return how.Picture(kind, "Where sentences leave", words, 176, draw)
