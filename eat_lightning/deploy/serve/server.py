"""uvicorn with the gateway's signals: TERM and INT stop it gracefully, HUP reloads the run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import uvicorn

from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote
from eat_lightning.deploy.serve.worker import Refused
from eat_lightning.errors import ConfigError

BACKLOG = 1024  # connections that the system holds before they are taken
CONNECTIONS = 4096  # over it 503: each may hold a body


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Replace uvicorn's handling, which after a graceful stop ends the process by the signal
        instead of with status 0.
        """
        yield


def run_server(plan: ServeSettings, token: str | None) -> None:
    """Open port, files and model, and serve.

    Raises:
        ConfigError: where any of them cannot be opened.
    """
    with bound_socket(plan.host, plan.port) as listening:
        gateway = Gateway(plan, Remote)
        settings = uvicorn.Config(
            make_app(gateway, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(plan.stop_s),
            timeout_keep_alive=30,
            limit_concurrency=CONNECTIONS,
            backlog=BACKLOG,
        )
        with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
            runner.run(serving(gateway, Server(settings), listening, token))


def bound_socket(host: str, port: int) -> socket.socket:
    try:
        # With the protocol named, asyncio sets TCP_NODELAY; without, answers wait 40 ms for an ACK.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        raise ConfigError(
            f"host={host} port={port}: cannot be opened ({error}): port=0 takes any that is free"
        ) from None
    return opened


async def serving(
    gateway: Gateway, server: Server, listening: socket.socket, token: str | None
) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive

    def stop() -> None:
        print("stopping: accepted requests are answered first", file=sys.stderr, flush=True)
        gateway.begin_stop()
        server.should_exit = True

    def reload() -> None:
        task = asyncio.ensure_future(reloaded(gateway))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    host, port = listening.getsockname()[:2]
    listening.listen(BACKLOG)
    if token is None and not ip_address(host).is_loopback:
        warning = f"host={host} without a token: anyone who can reach this port can send requests"
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    gateway.plan.tell_uncertified(gateway.about.exits)
    about = f"{gateway.about.name} on http://{host}:{port} (mode={gateway.plan.mode})"
    print(f"serving {about}", flush=True)
    await server.serve([listening])


async def reloaded(gateway: Gateway) -> None:
    with contextlib.suppress(Refused):  # the gateway has told it
        print(f"serving {await gateway.reload()}", flush=True)
