"""A small HTTP client on kept connections: cheap enough that the gateway is what is measured."""

from __future__ import annotations

import asyncio
import json
from typing import Any

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def request_of(host: str, content: Any, deadline_ms: float) -> bytes:
    body = json.dumps(content).encode()
    head = (
        f"POST /classify HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"X-Deadline-Ms: {deadline_ms}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """One request at a time on each connection; as many connections as requests under way."""

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self.idle: list[Connection] = []

    async def post(self, request: bytes) -> tuple[int, dict[str, Any]]:
        """Status and answer. OSError or EOFError where the connection broke."""
        if self.idle:
            connection = self.idle.pop()
        else:
            connection = await asyncio.open_connection(self.host, self.port)
        reader, writer = connection
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self.idle.append(connection)
        return int(head[9:12]), json.loads(body)

    def close(self) -> None:
        for _, writer in self.idle:
            writer.close()
