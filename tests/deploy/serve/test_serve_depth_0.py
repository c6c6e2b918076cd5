"""The gateway before a real model: it says and counts pairs of texts that leave at depth 0."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.gateways import Running, plan, running
from helpers.pairs_at_0 import PAIRS, make_pairs_run

from eat_lightning.deploy.serve.model import open_model

EXAMPLES = [{"text": first, "text_pair": second} for first, second in PAIRS]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = make_pairs_run(tmp_path_factory.mktemp("runs") / "run", "aligned")
    return {"run": str(run), "long": "cut", "threads": 1}


@pytest.fixture(scope="module")
def expected(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Pairs of which some leave at 0, some at 1, and some run both layers."""
    answers = plan(**given).open().answer(PAIRS)
    assert {answer["depth"] for answer in answers} == {0, 1, 2}
    return answers


@pytest.fixture
def served(given: dict[str, Any]) -> Iterator[Running]:
    model = open_model(plan(**given))
    alive = {"is_alive": lambda: True, "kill": lambda: None, "close": lambda: None}
    with running(
        SimpleNamespace(about=model.about, stream=model.stream, **alive), **given
    ) as found:
        yield found


def test_an_answer_at_depth_0_is_that_of_the_run(served: Running, expected: list[dict[str, Any]]):
    """It comes with the guess that it left with."""
    place = [answer["depth"] for answer in expected].index(0)
    found = served.say(EXAMPLES[place]).json()
    assert found.pop("latency_ms") > 0
    assert found.pop("confidence") == pytest.approx(expected[place]["confidence"], abs=1e-5)
    assert found == {k: v for k, v in expected[place].items() if k != "confidence"}
    assert (found["depth"], found["exit_reason"], found["retention"]) == (0, "confident", 1.0)
    (guess,) = served.say(EXAMPLES[place] | {"guesses": True}).json()["guesses"]
    assert (guess["layer"], guess["label"]) == (0, found["label"])
    headers = served.client.post("/predict", json={"inputs": [PAIRS[place]]}).headers
    assert (headers["x-depth"], headers["x-exit-reason"]) == ("0", "confident")


def test_what_left_at_depth_0_is_counted(served: Running, expected: list[dict[str, Any]]):
    """It stands in the histogram and on the page, beside what left later."""
    answers = served.say({"examples": EXAMPLES}).json()["answers"]
    depths = [answer["depth"] for answer in expected]
    assert [answer["depth"] for answer in answers] == depths
    text = served.client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    assert float(lines['eat_depth_bucket{le="0.0"}']) == depths.count(0)
    assert float(lines['eat_depth_bucket{le="1.0"}']) == depths.count(0) + depths.count(1)
    assert (float(lines["eat_depth_sum"]), lines["eat_depth_count"]) == (sum(depths), "24.0")
    live = served.client.get("/live").json()
    assert live["depth"] == {str(depth): n for depth, n in Counter(depths).items()}
    assert live["exits"] == [0, 1, 2]
