"""`eat drift run=<folder>`: replay a stream under the drift monitor, or make what is normal for it.

With a stream it prints, as JSON lines, what the monitor found; without one it makes the reference
of a run that has no certificate. `certify` and `adapt` make theirs themselves.
"""

from __future__ import annotations

import json
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.deploy.drift.plan import DriftSettings


def drift(config: dict[str, Any]) -> int:
    """Make the reference, or replay a stream; returns how many lines could not be read.

    Raises ConfigError, one line per fault, before anything long.
    """
    plan = parsed(DriftSettings, config)
    from eat_lightning.deploy.drift.calibration import made
    from eat_lightning.deploy.drift.replay import replayed

    model, num_bad = plan.open(plan.onnx), 0
    for event in made(plan, model) if plan.stream is None else replayed(plan, model):
        print(json.dumps(event), flush=True)
        num_bad += "error" in event
    return num_bad


main = entry("drift", drift)
