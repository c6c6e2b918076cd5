"""The app asked without a socket, and what stands before replicas, apart from any cluster."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from eat_lightning.deploy.serve.asgi import ReplicaRequest, ReplicaResponse, collected, pieces
from eat_lightning.deploy.serve.metrics import labelled

ASKED = ReplicaRequest("POST", "/x", {b"a": b"1"}, b"body", b"q=2")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says what it was asked, in two pieces."""
    message = await receive()
    head = {"type": "http.response.start", "status": 201, "headers": [(b"b", b"2")]}
    await send(head)
    said = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} "
    await send({"type": "http.response.body", "body": said.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": message["body"]})


def test_an_answer_is_whole():
    found = asyncio.run(collected(echo, ASKED))
    assert found == ReplicaResponse(201, {b"b": b"2"}, b"POST /x?q=2 body")


def test_an_answer_comes_in_pieces():
    async def listed() -> list[Any]:
        return [piece async for piece in pieces(echo, ASKED)]

    assert asyncio.run(listed()) == [ReplicaResponse(201, {b"b": b"2"}), b"POST /x?q=2 ", b"body"]


def test_who_hangs_up_ends_the_app():
    ended = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            await receive()  # after the body, the client
        finally:
            ended.append(True)

    async def hang_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(collected(slow, ASKED), 0.1)
        await asyncio.sleep(0)

    asyncio.run(hang_up())
    assert ended == [True]


def test_metrics_of_several_gateways_are_told_apart():
    texts = {}
    for name, count in (("one", 2), ("two", 3)):
        registry = CollectorRegistry()
        Counter("eat_requests", "About", ("path",), registry=registry).labels("/").inc(count)
        texts[name] = generate_latest(registry).decode()
    lines = labelled("replica", texts).decode().splitlines()
    assert 'eat_requests_total{path="/",replica="one"} 2.0' in lines
    assert 'eat_requests_total{path="/",replica="two"} 3.0' in lines
    assert lines.count("# TYPE eat_requests_total counter") == 1


@pytest.mark.slow  # Ray alone takes seconds to import
def test_the_time_that_is_left():
    pytest.importorskip("ray.serve", reason="no Ray: pip install 'eat_lightning[ray]'")
    from eat_lightning.deploy.serve.replicas import deadline_ms, in_time

    def asked(header: str | None, body: bytes = b"{}") -> ReplicaRequest:
        headers = {} if header is None else {b"x-deadline-ms": header.encode()}
        return ReplicaRequest("POST", "/classify", headers | {b"a": b"1"}, body)

    assert deadline_ms(asked(None), 500) == 500
    assert deadline_ms(asked("300", b'{"deadline_ms": 200}'), 500) == 200
    assert deadline_ms(asked("100", b'{"deadline_ms": 200}'), 500) == 100
    for wrong in ("soon", "0", "nan", "-1"):  # the app refuses it, as it is
        assert deadline_ms(asked(wrong, b'{"deadline_ms": [1]}'), 500) == 500
        assert in_time(asked(wrong), time.monotonic() + 1) == asked(wrong)
    headers = in_time(asked("9000"), time.monotonic() + 1).headers
    assert 900 < float(headers.pop(b"x-deadline-ms")) <= 1000
    assert headers == {b"a": b"1"}
