"""A tau for each source, by hand."""

import numpy as np
from models import ragged

from eat_lightning.methods.policy.per_source import PerSource
from eat_lightning.model.reason import FIRST_REASON, Reason

STAYS, GO = int(Reason.STAYS), FIRST_REASON
TAUS = {"mail": 0.9, "web": [0.6, 0.8]}


def reviewed(policy: PerSource, sources: list[str | None], *confidences: list[float]) -> list[int]:
    batch = ragged(tuple(range(2, 2 + len(sources))))
    batch.about = [{} if source is None else {"source": source} for source in sources]
    p_EB = np.array(confidences)
    logits_EBC = np.log(np.stack([p_EB, 1 - p_EB], axis=-1))
    rows_B = np.arange(len(sources))
    return policy.reviews(np.full_like(rows_B, GO), logits_EBC, batch, rows_B).tolist()


def test_each_source_has_its_tau_at_each_exit():
    policy, sources = PerSource(TAUS), ["mail", "mail", "web", "web"]
    first = [0.85, 0.95, 0.7, 0.55]
    assert reviewed(policy, sources, first) == [STAYS, GO, GO, STAYS]
    second = [0.95, 0.85, 0.7, 0.85]
    assert reviewed(policy, sources, first, second) == [GO, STAYS, STAYS, GO]


def test_an_unknown_source_runs_every_layer_under_strict():
    batch = ragged((2, 3, 4, 5))
    batch.about = [{"source": "mail"}, {"source": "phone"}, {}, {"source": "web"}]
    assert PerSource(TAUS).requests(batch, None).full_B.tolist() == [False, True, True, False]
    assert PerSource(TAUS, strict=False).requests(batch, None).full_B is None
    assert reviewed(PerSource(TAUS, strict=False), ["phone", None], [0.5, 0.5]) == [GO, GO]
    batch.about = None
    assert PerSource(TAUS).requests(batch, None).full_B.tolist() == [True] * 4
