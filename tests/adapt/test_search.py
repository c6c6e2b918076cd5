"""Which candidates are tried: the exit before layer 1 alone, and forms that could be chosen."""

from typing import Any

import numpy as np
import pytest
import torch

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.forms import Form
from eat_lightning.deploy.adapt.same_answer import SameAnswer
from eat_lightning.deploy.adapt.search import AdaptCandidate, Search, everybody_at_first
from eat_lightning.deploy.adapt.work import Passed
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.every_label import EveryLabel
from eat_lightning.methods.exit.predicted_error import PredictedError
from eat_lightning.model.contracts import ExitRule, at_point


@pytest.mark.parametrize(
    ("rule", "logits"),
    [
        (Confidence(tau=1.0, layers=[0, 1]), [0.0] * 5),  # five classes, alike
        (EveryLabel(tau=1.0, layers=[0, 1]), [0.0] * 3),
        (PredictedError(bound=0.0, layers=[0, 1], cuts=[2.5]), [2.4, 9.0]),  # its error is large
    ],
)
def test_at_one_point_all_leave_before_layer_1(rule: ExitRule, logits: list[float]):
    first_EBC = torch.tensor([[logits]])
    assert not rule.decides(first_EBC).any()
    lax = at_point(rule, everybody_at_first(rule))
    assert lax.decides(first_EBC).all()
    assert not lax.decides(torch.cat([first_EBC, first_EBC])).any()  # at the next exit nobody


def test_forms_slower_than_a_sure_one_are_not_judged():
    """Of four forms one changes too much; of the others the fastest and one near it are judged."""
    unused: Any = None
    original = {"select": np.tile([1.0, 0.0], (400, 1)), "certify": np.tile([1.0, 0.0], (600, 1))}
    judged = []

    class HandMade(Search):
        def passed(self, candidate: AdaptCandidate, part: str) -> Passed:
            judged.append(candidate.form.dtype)
            wrong = candidate.form.dtype == "wrong"
            return Passed(original[part][:, ::-1] if wrong else original[part], np.zeros(400))

    same, demand = SameAnswer(SingleLabel(2), ["no", "yes"]), Demand(0.98, 0.95)
    search = HandMade(unused, same, demand, original, original, unused, 1, 1, {})
    times = {"slow": 9.0, "near": 4.5, "sure": 4.0, "wrong": 1.0}
    statics = [AdaptCandidate(Form("torch", name), ms={"1": ms}) for name, ms in times.items()]
    search.judge_fast(statics)
    assert judged == ["wrong", "sure", "near"]
    assert statics[0].fault == "slower than one that keeps it"
    assert [c.form.dtype for c in search.near_fastest(statics, 1.25)] == ["near", "sure"]
