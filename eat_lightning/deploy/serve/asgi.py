"""An ASGI app called without a socket: for requests that come by another path than HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class ReplicaRequest:
    """A request, whole. headers: by their names in lower case, the first of each name."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes = b""
    query: bytes = b""

    @property
    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "query_string": self.query,
            "headers": [*self.headers.items()],
        }


@dataclass(frozen=True)
class ReplicaResponse:
    """An answer, whole; or its head, where the body comes in pieces."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes = b""


async def pieces(
    app: Any, request: ReplicaRequest
) -> AsyncGenerator[ReplicaResponse | bytes, None]:
    """The head, then the body's pieces as they come. Who stops listening has hung up."""
    sent: asyncio.Queue[Any] = asyncio.Queue()
    given = False

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:  # after the body nothing comes but that the client hung up, which cancels us
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    running = asyncio.ensure_future(app(request.scope, receive, sent.put))
    running.add_done_callback(lambda _: sent.put_nowait(None))
    try:
        while message := await sent.get():
            if message["type"] == "http.response.start":
                yield ReplicaResponse(message["status"], dict(message.get("headers", ())))
                continue
            yield message.get("body", b"")
            if not message.get("more_body"):
                return
        await running  # raises what ended it too early
    finally:
        running.cancel()


async def collected(app: Any, request: ReplicaRequest) -> ReplicaResponse:
    """The answer when it is whole."""
    async with aclosing(pieces(app, request)) as coming:
        head = await anext(coming)
        assert isinstance(head, ReplicaResponse)
        body = b"".join([piece async for piece in coming if isinstance(piece, bytes)])
    return replace(head, body=body)
