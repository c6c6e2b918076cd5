"""`eat adapt` with all that depends on the machine pinned: times are made up, and exits are read
from a file instead of trained. Only this module replaces functions of the package.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import small_models
from helpers.adapting import taken
from safetensors.numpy import save_file

from eat_lightning.deploy.adapt import list_run, run
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.search import Bench
from eat_lightning.weights.exits import early_head_weights, save_exits

TRAIN = "EAT_GOLDEN_EXITS"  # in the environment: exits are trained and kept anew


@contextmanager
def machine(exits: str, fastest: str = "exits", trains: bool = True) -> Iterator[None]:
    """Adapt as every machine would.

    Args:
        exits: name of the file of the trained exits.
        fastest: a word in the keys of the candidates that win, such as "exits" or "cascade".
        trains: it is these texts that the exits are trained on, where they are made anew.
    """

    def learn(encoder: Any, splits: Any, plan: Any, work: Path, least_steps: int) -> None:
        path = small_models.WEIGHTS / f"{exits}.safetensors"
        if trains and os.environ.get(TRAIN):
            learn_exits(encoder, splits, plan, work, least_steps)
            heads = early_head_weights(encoder)
            save_file({name: w.half().numpy() for name, w in heads.items()}, path)
        heads = small_models.jittered(small_models.stored(exits))
        encoder.load_state_dict({k: torch.tensor(w) for k, w in heads.items()}, strict=False)
        save_exits(encoder.eval(), work)

    def times(candidates: dict[str, Any], **_: Any) -> Iterator[dict[str, Any]]:
        """Float32 wins over other dtypes, and of the fastest the laxest does."""
        ms = {key: 5.0 if "fp32" in key else 50.0 for key in candidates}
        lax = [key for key in candidates if fastest in key and "fp32" in key]
        ms |= {key: 2.0 - number / 10 for number, key in enumerate(lax)}
        ms |= {key: 10.0 for key in candidates if "transformers" in key}
        yield {key: taken(time) for key, time in ms.items()}

    with pytest.MonkeyPatch.context() as patch:
        for module in (run, list_run):
            patch.setattr(module, "learn_exits", learn)
        # Guesses cost nothing: else those of two layers cost more than they save.
        patch.setattr(run, "BENCH", Bench(times, guess=0.0, cores=lambda: [0]))
        patch.setattr(list_run, "DTYPES", ("fp32",))
        yield
