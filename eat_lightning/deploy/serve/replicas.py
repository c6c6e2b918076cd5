"""The gateway's app on Ray Serve: replicas, and in front of them what asks again where one dies.

    Serve's HTTP proxy, on each node -> Front -> Replica, each with a gateway of its own

A Ray Serve handle asks another replica only while none has taken the request; one that dies with it
takes it along. Answers do not depend on who gives them or how often, so `Front` asks again, at most
`TRIES` times: a text that kills whoever reads it must not kill them all.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from eat_lightning.deploy.serve.access import answer_of, check_length, too_long
from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.asgi import ReplicaRequest, ReplicaResponse, collected, pieces
from eat_lightning.deploy.serve.body import MAX_DEADLINE_MS
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.metrics import labelled
from eat_lightning.deploy.serve.peers.native import NDJSON
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote
from eat_lightning.deploy.serve.worker import Refused

TRIES = 3
NUM_FRONTS = 2  # the requests of one that dies are lost; the other one goes on
LATE_S = 2.0  # after a request's deadline, for the replica to say so itself
DEADLINE = b"x-deadline-ms"
GONE = (RayActorError, ReplicaUnavailableError)
OF_TRANSPORT = {b"content-length", b"transfer-encoding", b"connection"}
T = TypeVar("T")


class Replica:
    """A gateway with its model, asked by messages in HTTP's place. folder: which the plan's paths
    start from, on a file system that all nodes share."""

    async def __init__(self, plan: ServeSettings, token: str | None, folder: str):
        os.chdir(folder)
        self.gateway = await asyncio.to_thread(Gateway, plan, Remote)
        self.gateway.start()
        self.app = make_app(self.gateway, token)

    async def ask(self, forwarded: ReplicaRequest) -> ReplicaResponse:
        return await collected(self.app, forwarded)

    async def named(self, forwarded: ReplicaRequest) -> tuple[str, ReplicaResponse]:
        """Its answer, and whose it is."""
        return serve.get_replica_context().replica_id.unique_id, await self.ask(forwarded)

    async def stream(
        self, forwarded: ReplicaRequest
    ) -> AsyncGenerator[ReplicaResponse | bytes, None]:
        async for piece in pieces(self.app, forwarded):
            yield piece

    async def __del__(self) -> None:
        """Serve waits for it, when all that the replica was asked is answered."""
        await self.gateway.stop()


class Front:
    """Takes a request from the proxy, and has a replica answer it before its deadline. command: by
    which it was put here."""

    def __init__(
        self, replicas: DeploymentHandle, deadline_ms: float, max_bytes: int, command: str
    ):
        self.replicas, self.deadline_ms, self.command = replicas, deadline_ms, command
        self.max_bytes = max_bytes

    def whose(self) -> str:
        return self.command

    async def __call__(self, request: Request) -> Response:
        try:
            forwarded = await self.read(request)
            default = MAX_DEADLINE_MS if forwarded.path == "/reload" else self.deadline_ms
            left_s = deadline_ms(forwarded, default) / 1000
            async with asyncio.timeout(left_s + LATE_S):
                return await self.answer(forwarded, time.monotonic() + left_s)
        except Refused as refused:
            return answer_of(refused)
        except TimeoutError:
            return answer_of(Refused(504, "the deadline passed"))

    async def read(self, request: Request) -> ReplicaRequest:
        check_length(request, self.max_bytes)
        body = await request.body()
        if len(body) > self.max_bytes:
            raise too_long(self.max_bytes)
        query = request.scope.get("query_string", b"")
        headers = dict(reversed(request.headers.raw))
        return ReplicaRequest(request.method, request.url.path, headers, body, query)

    async def answer(self, forwarded: ReplicaRequest, deadline: float) -> Response:
        if forwarded.path == "/metrics":
            return response_of(merged(await self.ask_all(forwarded)))
        if forwarded.path == "/reload":
            return response_of(await self.reload(forwarded))
        if forwarded.path == "/classify" and NDJSON.encode() in forwarded.headers.get(
            b"accept", b""
        ):
            return await self.streamed(forwarded, deadline)
        return response_of(
            await again(TRIES, lambda: self.replicas.ask.remote(in_time(forwarded, deadline)))
        )

    async def streamed(self, forwarded: ReplicaRequest, deadline: float) -> Response:
        """Asked again up to the first line; a replica that dies later breaks the stream off."""
        replicas = self.replicas.options(stream=True)

        async def begun() -> Response:
            coming: Any = replicas.stream.remote(in_time(forwarded, deadline))
            head, first = await anext(coming), await anext(coming, b"")
            return StreamingResponse(joined(first, coming), head.status, headers_of(head))

        return await again(TRIES, begun)

    async def ask_all(self, forwarded: ReplicaRequest) -> dict[str, ReplicaResponse]:
        """Every replica's answer, by a name that it keeps while it lives."""
        return dict(
            await again(1, lambda: self.replicas.broadcast("named", forwarded).results_async())
        )

    async def reload(self, forwarded: ReplicaRequest) -> ReplicaResponse:
        """Each replica reads its folder again. Another run would be unknown to those that are
        started later."""
        with suppress(ValueError, RecursionError):
            if isinstance(body := json.loads(forwarded.body or b"null"), dict) and body.get("run"):
                raise Refused(409, "with engine=ray another run is rolled out by `serve run=...`")
        return max((await self.ask_all(forwarded)).values(), key=lambda response: response.status)


async def again(tries: int, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask one replica, and another one where that dies with the request. Refused: 503 where so many
    did, or none takes the request."""
    for _ in range(tries):
        try:
            return await ask()
        except GONE:
            continue
        except BackPressureError:
            raise Refused(503, "the queue is full", 1) from None
        except DeploymentUnavailableError:
            raise Refused(503, "no replica runs", 5) from None
    who = "a replica" if tries == 1 else f"{tries} replicas"
    raise Refused(503, f"{who} died with this request", 1)


def deadline_ms(forwarded: ReplicaRequest, default: float) -> float:
    """The sooner of the header's and the body's. What is no deadline the app refuses."""
    given: list[Any] = [forwarded.headers.get(DEADLINE)]
    if b'"deadline_ms"' in forwarded.body:
        with suppress(ValueError, AttributeError, RecursionError):
            given.append(json.loads(forwarded.body).get("deadline_ms"))
    return min([float(ms) for ms in given if is_time(ms)], default=default)


def is_time(ms: Any) -> bool:
    """True where the app accepts a value as a deadline in milliseconds."""
    try:
        return 0 < float(ms) <= MAX_DEADLINE_MS
    except (TypeError, ValueError):
        return False


def in_time(forwarded: ReplicaRequest, deadline: float) -> ReplicaRequest:
    """Pass on what is left of the time, where that is the app's to keep."""
    given = forwarded.headers.get(DEADLINE)
    if (
        forwarded.method != "POST"
        or forwarded.path == "/reload"
        or (given is not None and not is_time(given))
    ):
        return forwarded
    left_ms = max(1.0, (deadline - time.monotonic()) * 1000)
    return replace(forwarded, headers=forwarded.headers | {DEADLINE: f"{left_ms:.0f}".encode()})


def headers_of(response: ReplicaResponse) -> dict[str, str]:
    kept = {key: value for key, value in response.headers.items() if key not in OF_TRANSPORT}
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in kept.items()}


def response_of(response: ReplicaResponse) -> Response:
    return Response(response.body, response.status, headers_of(response))


async def joined(first: Any, others: Any) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


def merged(found: Mapping[str, ReplicaResponse]) -> ReplicaResponse:
    """All replicas' metrics, each with the label `replica`."""
    worst = max(found.values(), key=lambda response: response.status)
    if worst.status != 200:
        return worst
    texts = {name: each.body.decode() for name, each in found.items()}
    return ReplicaResponse(200, worst.headers, labelled("replica", texts))
