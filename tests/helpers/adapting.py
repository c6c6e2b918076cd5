"""Settings of `adapt` for tests, and times that are made up."""

from pathlib import Path
from typing import Any

import numpy as np
from helpers.finished import config_of

from eat_lightning.config import parsed
from eat_lightning.deploy.adapt.plan import AdaptSettings


def plan_of(model: Path, texts: Path, to: Path, *words: str) -> AdaptSettings:
    given = [f"classifier='{model}'", f"texts='{texts}'", f"to='{to}'", "engines=[]", "agree=0.9"]
    few = ["heads.epochs=[2]", "least_steps=1", "times.examples=2", "times.repeats=1"]
    config = config_of("adapt", *given, *few, *words)
    config["model"] = config.pop("classifier")
    return parsed(AdaptSettings, {k: v for k, v in config.items() if k not in ("queries", "keep")})


def taken(ms: float) -> dict[str, Any]:
    """What `time_all` says of a setting that always takes `ms`, and 1 ms a text in batches."""
    all_RI = {"latency_RI": np.full((1, 4), ms), "batches_RI": np.full((1, 2), 32.0)}
    return {"latency_ms": ms, "throughput": 1000.0, **all_RI}


def made_up_times(candidates: dict[str, Any], **_: Any) -> Any:
    """The original takes 10 ms, static forms 5, exits 1 and a tenth of their place."""
    yield {
        key: taken(10.0 if "transformers" in key else 1 + i / 10 if "exits" in key else 5.0)
        for i, key in enumerate(candidates)
    }
