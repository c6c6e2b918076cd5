"""`serve engine=ray`: puts the app on a cluster, stays while it is this command's, and takes it
down."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from eat_lightning.cluster import join_ray
from eat_lightning.deploy.serve.gateway import open_strictly
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote
from eat_lightning.deploy.serve.replicas import NUM_FRONTS, Front, Replica
from eat_lightning.deploy.serve.server import CONNECTIONS, bound_socket, warn_if_open
from eat_lightning.errors import ConfigError

APP = "eat_lightning"
HANDED = ("EAT_", "HF_", "PYTHONPATH")  # what begins so in the environment goes with a replica
PROXY_S = 60  # for a proxy to listen
ASK_S = 10  # for a front to say whose it is
LOOK_S = 1.0  # between two looks whether another command has taken over
QUIET = {"log_level": "WARNING", "enable_access_log": False}


def run_on_ray(plan: ServeSettings, token: str | None) -> None:
    """Serve until SIGTERM or SIGINT, or until another command puts its own app in this one's place.
    ConfigError where the model, the cluster or the port cannot be had; what ran before goes on."""
    model = open_strictly(plan, Remote)  # a rollout of what cannot be served must not begin
    model.close()
    join_ray("address", plan.address, log_to_driver=False)
    with bound_socket(plan.host, 0) as found:
        host, free = found.getsockname()[:2]
    port = plan.port or free
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    warn_if_open(host, token)
    plan.tell_uncertified(model.about.exits)
    start_proxies(plan.host, port)
    ours = secrets.token_hex(8)
    try:
        serve.run(application(plan, token, ours), name=APP, logging_config=QUIET)
    except (RuntimeError, RayServeException) as error:
        message = str(error).strip().partition("\n")[0]
        raise ConfigError(f"replicas={plan.replicas}: they do not start ({message})") from None
    more = f"..{plan.most_replicas}" if plan.most_replicas else ""
    where = f"http://{plan.host}:{port} (engine=ray, replicas={plan.replicas}{more})"
    print(f"serving {model.about.name} on {where}", flush=True)
    while not is_replaced(ours):
        if stop.wait(LOOK_S):
            return take_down(ours)
    print("another command serves in this one's place", flush=True)


def start_proxies(host: str, port: int) -> None:
    """On every node. ConfigError where the port is taken, or those that run have another one."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if APP not in serve.status().applications:
        bound_socket(host, port).close()
    options = {"host": host, "port": port, "keep_alive_timeout_s": 30}
    serve.start(proxy_location="EveryNode", http_options=options, logging_config=QUIET)
    end = time.monotonic() + PROXY_S
    while True:
        try:
            return socket.create_connection((host, port), 5).close()
        except OSError as error:
            if time.monotonic() > end:
                message = f"Ray Serve's proxy does not listen there ({error})"
                raise ConfigError(f"host={host} port={port}: {message}") from None
            time.sleep(0.2)


def application(plan: ServeSettings, token: str | None, command: str) -> Any:
    """Replicas behind fronts, which know whose they are. New ones are started before old ones are
    stopped."""
    shared = {"max_surge_percent": 100, "graceful_shutdown_timeout_s": plan.stop_s}
    shared |= {"graceful_shutdown_wait_loop_s": 0.2}
    handed = {key: value for key, value in os.environ.items() if key.startswith(HANDED)}
    size: dict[str, Any] = {"num_replicas": plan.replicas}
    if plan.most_replicas is not None:
        scaling = {"min_replicas": plan.replicas, "max_replicas": plan.most_replicas}
        scaling |= {"target_ongoing_requests": plan.waiting, "upscale_delay_s": 3}
        size = {"autoscaling_config": scaling | {"look_back_period_s": 5, "metrics_interval_s": 1}}
    replicas = serve.deployment(
        name="replica",
        max_ongoing_requests=plan.queue + plan.examples_at_once,
        max_queued_requests=plan.queue,
        ray_actor_options={"num_cpus": plan.threads, "runtime_env": {"env_vars": handed}},
        **size,
        **shared,
    )(Replica)
    front = serve.deployment(
        name="front",
        num_replicas=NUM_FRONTS,
        max_ongoing_requests=CONNECTIONS,
        ray_actor_options={"num_cpus": 0},
        **shared,
    )(Front)
    return front.bind(
        replicas.bind(plan, token, os.getcwd()), plan.deadline_ms, plan.max_bytes, command
    )


def take_down(ours: str) -> None:
    """The app, when what it was asked is answered, unless it is another command's by now; and Serve
    itself, where it was the only one."""
    if is_replaced(ours):
        return
    serve.delete(APP)
    if not serve.status().applications:
        serve.shutdown()


def is_replaced(ours: str) -> bool:
    """True where the app is gone or belongs to another command. False where its fronts do not
    answer: they are tried again."""
    if APP not in serve.status().applications:
        return True
    try:
        return serve.get_app_handle(APP).whose.remote().result(timeout_s=ASK_S) != ours
    except (TimeoutError, RayError, RayServeException):
        return False
