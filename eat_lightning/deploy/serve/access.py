"""Access control in front of the app: tokens, limits on request bodies, and a count of
responses.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection
from email.message import Message
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from eat_lightning.deploy.serve.metrics import Metrics
from eat_lightning.deploy.serve.worker import Refused

BODY_S = 10  # for a body to arrive
OPEN = {"/", "/demo", "/healthz", "/health", "/ping", "/openapi.json"}  # to read, without the token


class AccessControl:
    """ASGI middleware.

    Args:
        token: required of requests; None: no authentication.
        paths: counted by name. Others are counted together, so that clients cannot create any
            number of metrics.
    """

    def __init__(
        self,
        app: Any,
        metrics: Metrics,
        token: str | None,
        max_bytes: int,
        paths: Collection[str],
    ):
        self.app, self.metrics, self.max_bytes, self.paths = app, metrics, max_bytes, paths
        self.token = None if token is None else token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in self.paths else "other"
                self.metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        try:
            self.check(Request(scope))
        except Refused as refused:
            await answer_of(refused)(scope, receive, counted)
        else:
            await self.app(scope, self.bounded(receive), counted)

    def check(self, request: Request) -> None:
        is_open = request.method in ("GET", "HEAD") and request.url.path in OPEN
        if self.token is not None and not is_open:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            # In constant time. Header bytes are latin-1 in ASGI: back to what was sent.
            same = hmac.compare_digest(given.strip().encode("latin-1"), self.token)
            if scheme.lower() != "bearer" or not same:
                raise Refused(401, "a bearer token is needed: Authorization: Bearer ...")
        if request.method == "POST" and not reloads_this(request):
            kind = Message()
            kind["content-type"] = given = request.headers.get("content-type", "")
            is_utf8 = kind.get_content_charset("utf-8") in ("utf-8", "utf8")
            if kind.get_content_type() != "application/json" or not is_utf8:
                raise Refused(415, f"Content-Type must be application/json, got {given!r:.60}")
        length = request.headers.get("content-length", "")  # before the body is read
        if length.isdigit() and int(length[:20]) > self.max_bytes:
            raise too_long(self.max_bytes)

    def bounded(self, receive: Any) -> Any:
        """Receive at most `max_bytes` (plus the server's read buffer), within a time limit."""
        end, seen, is_whole = time.monotonic() + BODY_S, 0, False

        async def next_message() -> Any:
            nonlocal seen, is_whole
            if is_whole:  # what comes after the body is that the client hung up
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, f"the body took longer than {BODY_S} s to arrive") from None
            seen += len(message.get("body", b""))
            is_whole = not message.get("more_body")
            if seen > self.max_bytes:
                raise too_long(self.max_bytes)
            return message

        return next_message


def too_long(max_bytes: int) -> Refused:
    return Refused(413, f"the body must have at most {max_bytes} bytes")


def reloads_this(request: Request) -> bool:
    """True for a reload request without a body, which needs no content type. Requests from another
    site's page are excluded: a browser would send those too, but names their origin.
    """
    headers = request.headers
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    return request.url.path == "/reload" and empty and "origin" not in headers


def answer_of(refused: Any) -> JSONResponse:
    return JSONResponse({"error": refused.detail}, refused.status_code, refused.headers)
