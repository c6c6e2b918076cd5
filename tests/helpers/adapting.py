"""Settings of `adapt` for tests, and times that are made up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.finished import config_of

from eat_lightning.bundle.model import Model
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.plan import AdaptSettings
from eat_lightning.deploy.adapt.run import adapt
from eat_lightning.deploy.adapt.search import Bench
from eat_lightning.monitor.observation import Observation, observations
from eat_lightning.monitor.reference import read_reference


def plan_of(model: Path, texts: Path | str, to: Path, *words: str) -> AdaptSettings:
    given = [f"classifier='{model}'", f"texts='{texts}'", f"to='{to}'", "engines=[]", "agree=0.9"]
    few = ["heads.epochs=[2]", "heads.variants=1", "least_steps=1"]
    few += ["times.examples=2", "times.repeats=1"]
    config = config_of("adapt", *given, *few, *words)
    config["model"] = config.pop("classifier")
    return AdaptSettings.of(config)


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


def cascades_are_fastest(candidates: dict[str, Any], **_: Any) -> Any:
    """A cascade takes 1 ms, fp32 without one 8, everything else 9."""
    ms = {key: 1.0 if "cascade" in key else 8.0 if "fp32" in key else 9.0 for key in candidates}
    yield {key: taken(x) for key, x in ms.items()}


# Guesses cost nothing: on two layers others would close the exits. One core: threads of several
# test processes wait for each other by spinning.
BENCH = Bench(made_up_times, guess=0.0, cores=lambda: [0])


def adapted_by(timed: Any, plan: AdaptSettings, given: Any = None) -> AdaptResult:
    """Adapt by these times."""
    return adapt(plan, given, replace(BENCH, timed=timed))


def check_reference(made: AdaptResult) -> None:
    """A folder's drift reference is what its model, opened anew, does with the same texts."""
    backend, split = Model.open(made.plan.to), made.splits["certify"]
    kept, seen = read_reference(backend).seen, dict[int, Observation]()
    for trace in backend.stream([list(split.text(i)) for i in range(len(split))], deep=True):
        seen |= dict(zip(trace.rows_B.tolist(), observations(trace), strict=True))
    for i, each in enumerate(kept):
        assert each.confidence == pytest.approx(seen[i].confidence, abs=1e-4)
        assert replace(each, confidence=0) == replace(seen[i], confidence=0)
