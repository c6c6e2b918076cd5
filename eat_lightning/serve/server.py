"""uvicorn with the gateway's own signals: TERM and INT stop it gently, HUP reads the run again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import uvicorn

from eat_lightning.drift.decisions import DecisionLog
from eat_lightning.errors import ConfigError
from eat_lightning.serve.app import make_app
from eat_lightning.serve.decisions import Decisions
from eat_lightning.serve.gateway import Gateway, check_sources
from eat_lightning.serve.journal import Journal
from eat_lightning.serve.refused import Refused
from eat_lightning.serve.remote import Remote

BACKLOG = 1024  # connections that the system holds before they are taken
CONNECTIONS = 4096  # over it 503: each may hold a body


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own handling ends the process by the signal, after a gentle stop: not with
        status 0."""
        yield


def run_server(config: dict[str, Any], token: str | None) -> None:
    """Opens the port, and the model, before it says that it serves. ConfigError for either."""
    listening = bound_socket(config["host"], config["port"])
    journal = Journal(config["journal"]) if config["journal"] else None
    decisions = decisions_of(config)
    model = Remote(config)
    check_sources(config, model)
    gateway = Gateway(config, model, Remote, journal, decisions)
    settings = uvicorn.Config(
        make_app(gateway, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=config["stop_s"],
        timeout_keep_alive=30,
        limit_concurrency=CONNECTIONS,
        backlog=BACKLOG,
    )
    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
        runner.run(serving(gateway, Server(settings), listening))


def decisions_of(config: dict[str, Any]) -> Decisions | None:
    return Decisions(DecisionLog(config["log"], config["log_text"])) if config["log"] else None


def bound_socket(host: str, port: int) -> socket.socket:
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(kind, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        raise ConfigError(f"host={host} port={port}: cannot be opened ({error})") from None
    return opened


async def serving(gateway: Gateway, server: Server, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        gateway.begin_stop()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.ensure_future(reloaded(gateway))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    host, port = listening.getsockname()[:2]
    told = f"{gateway.about.name} on http://{host}:{port} (mode={gateway.config['mode']})"
    listening.listen(BACKLOG)
    if guarded_by_nothing(gateway, host):
        said = f"host={host} without a token: whoever reaches this port may ask"
        print(f"warning: {said}", file=sys.stderr, flush=True)
    print(f"serving {told}", flush=True)
    await server.serve([listening])


def guarded_by_nothing(gateway: Gateway, host: str) -> bool:
    named = gateway.config["token_env"] or gateway.config["token_file"]
    return not named and not ip_address(host).is_loopback


async def reloaded(gateway: Gateway) -> None:
    try:
        print(f"serving {await gateway.reload()}", flush=True)
    except Refused as error:
        print(f"error: {error.reason}", file=sys.stderr, flush=True)
