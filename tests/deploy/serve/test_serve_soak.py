"""Five hundred requests in every shape, under two kills and a reload, beside slow senders."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.exports import make_run
from helpers.finished import make_run as make_ranker
from helpers.gateways import eventually
from test_serve_process import process

SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("/classify", {"text": "good"}),
    ("/predict", {"inputs": [["good"], ["bad"]]}),
    ("/", {"inputs": "good", "parameters": {}}),
    ("/classify", {"inputs": "good"}),
    ("/v1/classify", {"input": ["good", "bad"]}),
]
RERANK: list[tuple[str, dict[str, Any]]] = [
    ("/rerank", {"query": "good", "texts": ["good film", "bad"]}),
    ("/v1/rerank", {"query": "good", "documents": ["good film", "bad"]}),
    ("/predict", {"inputs": ["good", "bad"]}),
]
REQUESTS, KILLED_AT, RELOADED_AT = 500, (120, 330), 240


@pytest.mark.nightly
@pytest.mark.parametrize("task", ["one text", "pairs"])
def test_nothing_that_was_accepted_is_lost(task: str, tmp_path: Path):
    """Every request gets an answer or, where the worker died with it, 503 in one line."""
    if task == "pairs":
        run, shapes = make_ranker(tmp_path / "run", "stsb"), RERANK
    else:
        run, shapes = make_run(tmp_path / "run", "dense", "norm_topk", "confidence"), SHAPES
    given = f"run={run}", "deadline_ms=60000", "mode=triage", "batch=16", "wait_ms=1"
    with process(*given, forks=False) as (child, client):
        senders = [slow_sender(client) for _ in range(8)]

        def status(number: int, path: str, content: Any) -> int:
            if number in KILLED_AT:
                for worker in children(child.pid):
                    os.kill(worker, signal.SIGKILL)
            if number == RELOADED_AT:
                assert client.post("/reload", timeout=60).status_code in (200, 409)
            response = client.post(path, json=content, timeout=60)
            assert response.is_success or {"error", "message"} & response.json().keys()
            return response.status_code

        with ThreadPoolExecutor(8) as pool:
            asked = enumerate(islice(cycle(shapes), REQUESTS))
            futures = [pool.submit(status, number, *shape) for number, shape in asked]
            statuses = [future.result() for future in futures]
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) > REQUESTS * 0.8
        path, content = shapes[0]
        eventually(lambda: client.post(path, json=content).status_code == 200, 60)
        assert child.poll() is None
        for sender in senders:
            sender.close()


@pytest.mark.nightly
def test_what_one_gateway_cannot_answer_another_does(tmp_path: Path):
    """Two gateways, and a client that asks the other one again, as a load balancer does. The first
    loses its worker and then its process, the second reads its run again: all is answered."""
    run = make_run(tmp_path / "run", "dense", "norm_topk", "confidence")
    given = f"run={run}", "deadline_ms=60000", "mode=triage", "batch=16", "wait_ms=1"
    with process(*given, forks=False) as first, process(*given, forks=False) as second:
        (child, _), clients = first, [first[1], second[1]]

        def status(number: int, path: str, content: Any) -> int:
            if number in KILLED_AT:
                workers = children(child.pid)
                if number == KILLED_AT[-1]:
                    os.kill(child.pid, signal.SIGKILL)
                for worker in workers:
                    os.kill(worker, signal.SIGKILL)
            if number == RELOADED_AT:
                assert clients[1].post("/reload", timeout=60).status_code == 200
            found = 503
            for client in (clients[number % 2], clients[1 - number % 2]):
                if found == 503:
                    with suppress(httpx.TransportError):
                        found = client.post(path, json=content, timeout=60).status_code
            return found

        with ThreadPoolExecutor(8) as pool:
            asked = enumerate(islice(cycle(SHAPES), REQUESTS))
            futures = [pool.submit(status, number, *shape) for number, shape in asked]
            statuses = [future.result() for future in futures]
        assert statuses == [200] * REQUESTS
        assert child.poll() is not None


def children(pid: int) -> list[int]:
    """Of all of its threads: a worker's successor is started by another one."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def slow_sender(client: httpx.Client) -> socket.socket:
    """Open a connection that sends the beginning of a request, and then nothing."""
    sender = socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)
    sender.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
    sender.sendall(b'Content-Length: 50\r\n\r\n{"inputs": ')
    return sender
