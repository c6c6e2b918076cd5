"""The second runs that policies ask (`policy.veto.run`), loaded by whoever builds the policies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eat_lightning.weights.checkpoint import load_model


def load_second_runs(policies: Iterable[Any]) -> None:
    """Hand in the encoder and labels of each run that a policy names and has not been given."""
    for policy in policies:
        run = getattr(policy, "run", None)
        if run is not None and policy.second is None:
            policy.second, policy.labels = load_model(Path(run) / "model")
