"""Settings of `adapt` for tests, and times that are made up."""

from pathlib import Path
from typing import Any

from finished import config_of

from eat_lightning.config import parsed
from eat_lightning.deploy.adapt.plan import AdaptSettings


def plan_of(model: Path, texts: Path, to: Path, *words: str) -> AdaptSettings:
    given = [f"classifier='{model}'", f"texts='{texts}'", f"to='{to}'", "engines=[]", "agree=0.9"]
    few = ["heads.epochs=[2]", "least_steps=1", "times.examples=2", "times.repeats=1"]
    config = config_of("adapt", *given, *few, *words)
    config["model"] = config.pop("classifier")
    return parsed(AdaptSettings, {k: v for k, v in config.items() if k not in ("queries", "keep")})


def made_up_times(candidates: dict[str, Any], **_: Any) -> Any:
    """The original takes 10 ms, static forms 5, exits 1 and a tenth of their place."""
    yield {
        key: {
            "latency_ms": 10.0 if "transformers" in key else 1 + i / 10 if "exits" in key else 5.0,
            "throughput": 1000.0,
        }
        for i, key in enumerate(candidates)
    }
