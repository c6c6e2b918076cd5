"""A gateway on a free port, before a model whose hard examples wait until they are let go."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any

import httpx
import uvicorn
from helpers.finished import config_of

from eat_lightning.config import parsed
from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.model import About, AnswerScores
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import WorkerDied
from eat_lightning.deploy.serve.server import Server, bound_socket

# It tells every request to whatever handler an earlier test left, whose stream may be closed.
logging.getLogger("httpx").setLevel(logging.WARNING)


class FakeModel:
    """An easy example leaves at 3; one whose text starts with "hard" at 6, once `gate` is open. To
    "fail" it raises, of "die" it dies; "long" it refuses, or cuts where that is named. `seen`: the
    texts of each batch it was given. Without labels it gives one score."""

    def __init__(
        self,
        name: str = "fake",
        columns: tuple[str, ...] = ("sentence",),
        labels: tuple[str, ...] = ("negative", "positive"),
    ):
        problem_type = "single_label_classification" if labels else "regression"
        about = name, columns, labels, 6, [3, 4, 6]
        self.about = About(*about, problem_type, 64)
        self.gate, self.alive = threading.Event(), True
        self.gate.set()
        self.killed = False
        self.seen: list[list[str]] = []
        self.deep: list[bool] = []
        self.sources: list[str | None] = []

    def stream(self, examples: list[RequestExample], deep: bool = False) -> Iterator[Any]:
        texts = [example.texts[0] for example in examples]
        self.seen.append(texts)
        self.deep.append(deep)
        self.sources += [example.source for example in examples]
        if "die" in texts:
            self.alive = False
            raise WorkerDied("the fake worker died")
        if "fail" in texts:
            raise ValueError("the fake model fails")
        hard = [i for i, t in enumerate(texts) if deep or t.startswith("hard")]
        easy = [i for i in range(len(texts)) if i not in hard]
        if easy:
            yield easy, [said(examples[i], 3, "confident", self.about) for i in easy]
        if hard:
            assert self.gate.wait(20)
            if self.killed:
                self.alive = False
                raise WorkerDied("the fake worker was killed")
            yield hard, [said(examples[i], 6, "last_layer", self.about) for i in hard]

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.killed = True
        self.gate.set()

    def close(self) -> None:
        self.alive = False


def said(example: RequestExample, depth: int, reason: str, about: About) -> dict[str, Any]:
    """The more often "good" is in the texts, the higher is the last logit."""
    if example.texts[0].startswith("long") and example.long != "cut":
        return {"error": "a text must have at most 64 tokens, got 65"}
    score = 2.0 * " ".join(example.texts).count("good") - 1
    answer: dict[str, Any] = {"score": score}
    if about.labels:
        answer = {"label": "positive" if score > 0 else "negative", "confidence": 0.95}
    answer |= {"depth": depth, "exit_reason": reason, "retention": 0.5 if depth == 6 else 0.75}
    logits = [0.0, score] if about.labels else [score]
    sizes: dict[str, Any] = {"windows": 1, "tokens": 5}
    sizes["truncated"] = example.texts[0].startswith("long")
    if example.guesses:
        threshold = {"name": "tau", "value": 0.9, "of_confidence": True}
        unsure = {"label": "negative", "confidence": 0.6, "threshold": threshold}
        early = [{"layer": layer} | unsure for layer in (3, 4) if layer < depth]
        sizes["guesses"] = [*early, {"layer": depth} | answer | {"threshold": threshold}]
    return answer | sizes | {"scores": AnswerScores(logits, 5)}


def without_scores(chunks: Iterable[Any]) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Chunks of a model's stream as clients get their answers."""
    for places, answers in chunks:
        assert all(answer.pop("scores").logits for answer in answers)
        yield places, answers


def settings(**changes: Any) -> dict[str, Any]:
    """The resolved config of `serve`."""
    return deepcopy(defaults()) | {"run": "runs/fake", "stop_s": 5} | changes


@cache
def defaults() -> dict[str, Any]:
    return config_of("serve")


def plan(**changes: Any) -> ServeSettings:
    return parsed(ServeSettings, settings(**changes))


class Running:
    """A gateway that serves; `say` posts to /classify."""

    def __init__(self, gateway: Gateway, server: uvicorn.Server, url: str):
        self.gateway, self.server = gateway, server
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def say(self, content: Any, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/classify", json=content, headers=given)

    @property
    def deaths(self) -> float:
        """How many workers died."""
        return self.gateway.metrics.registry.get_sample_value("eat_worker_deaths_total") or 0

    def at_once(self, *contents: Any) -> tuple[list[threading.Thread], dict[int, httpx.Response]]:
        """Each posted by a thread of its own, in this order."""
        found: dict[int, httpx.Response] = {}

        def one(place: int, content: Any) -> None:
            url = self.client.base_url.join("/classify")
            found[place] = httpx.post(url, json=content, timeout=20, trust_env=False)

        threads = []
        for place, content in enumerate(contents):
            threads.append(threading.Thread(target=one, args=(place, content)))
            threads[-1].start()
            time.sleep(0.05)
        return threads, found


@contextmanager
def running(
    model: Any,
    token: str | None = None,
    revive: Any = None,
    **changes: Any,
) -> Iterator[Running]:
    """`revive`: makes the models that come after `model`."""
    made_plan = plan(**changes)
    listening = bound_socket("127.0.0.1", 0)
    listening.listen(64)
    started, made = threading.Event(), {}

    async def serving() -> None:
        revived = revive or (lambda plan: FakeModel("revived"))
        first = iter([model])
        gateway = Gateway(made_plan, lambda plan: next(first, None) or revived(plan))
        given = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 5}
        server = Server(uvicorn.Config(make_app(gateway, token), **given))
        made.update(gateway=gateway, server=server)
        started.set()
        await server.serve([listening])

    thread = threading.Thread(target=lambda: asyncio.run(serving()), daemon=True)
    thread.start()
    assert started.wait(120)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    running = Running(made["gateway"], made["server"], url)
    try:
        running.client.get("/healthz")
        yield running
    finally:
        if isinstance(model, FakeModel):
            model.gate.set()
        running.client.close()
        running.server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def eventually(true: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
