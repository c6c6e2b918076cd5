"""`python -m eat_lightning.drift run=<folder>`: what is normal for a run, and whether a stream is.

Without a stream it makes the reference; with one it says, as JSON lines, what the monitor found.
"""

from __future__ import annotations

import json
from typing import Any

from eat_lightning.answer_kind import SINGLE, misfit
from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.errors import ConfigError


def drift(config: dict[str, Any]) -> int:
    """Make the reference, or replay a stream; returns how many lines could not be read.

    Raises ConfigError, one line per fault, before anything long.
    """
    plan = parsed(DriftSettings, config)
    from eat_lightning.deploy.drift.watch import made, replayed
    from eat_lightning.engines.open import open_backend
    from eat_lightning.runs.run import Run

    run, backend = Run.open(plan.run), open_backend(plan, plan.onnx)
    if backend.kind.problem_type != SINGLE:
        raise ConfigError(f"drift {misfit([SINGLE], backend.kind)}")
    num_bad = 0
    for event in made(plan, run, backend) if plan.stream is None else replayed(plan, run, backend):
        print(json.dumps(event), flush=True)
        num_bad += "error" in event
    return num_bad


main = entry("drift", drift)

if __name__ == "__main__":
    main()
