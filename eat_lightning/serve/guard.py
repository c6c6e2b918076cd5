"""In front of the app: who may ask, how long a body may be, and a count of what was said."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

from fastapi import Request

from eat_lightning.serve.gateway import Gateway
from eat_lightning.serve.refused import Refused

BODY_S = 10  # for a body to arrive


class Guard:
    """The bearer token, compared in constant time; without one everybody may ask."""

    def __init__(self, token: str | None):
        self.token = None if token is None else token.encode()

    def __call__(self, request: Request) -> None:
        if self.token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Header bytes are latin-1 in ASGI: back to what was sent.
        same = hmac.compare_digest(given.strip().encode("latin-1"), self.token)
        if scheme.lower() != "bearer" or not same:
            raise Refused(401, "a bearer token is needed: Authorization: Bearer ...")


async def body_of(request: Request, max_bytes: int) -> bytes:
    """Never holds more than `max_bytes` (and what the server reads at once)."""
    told = request.headers.get("content-length", "")
    too_long = Refused(413, f"the body must have at most {max_bytes} bytes")
    if told.isdigit() and int(told[:20]) > max_bytes:
        raise too_long
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                found += chunk
                if len(found) > max_bytes:
                    raise too_long
    except TimeoutError:
        raise Refused(408, f"the body took longer than {BODY_S} s to arrive") from None
    return bytes(found)


def must_be_json(request: Request) -> None:
    given = request.headers.get("content-type", "")
    kind, _, parameters = given.partition(";")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    wrong_charset = "charset=" in charset and not {"charset=utf-8", "charset=utf8"} & set(
        charset.split(";")
    )
    if kind.strip().lower() != "application/json" or wrong_charset:
        raise Refused(415, f"Content-Type must be application/json, got {given!r:.60}")


class Counted:
    """ASGI middleware: counts requests by path and status, and fills in for a failed app."""

    def __init__(self, app: Any, gateway: Gateway, paths: frozenset[str]):
        self.app, self.gateway, self.paths = app, gateway, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = "/jobs/" if scope["path"].startswith("/jobs/") else scope["path"]
        path = path if path in self.paths else "other"

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.gateway.meters.requests.labels(path, message["status"]).inc()
            await send(message)

        await self.app(scope, receive, counting)
