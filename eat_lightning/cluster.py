"""Join a Ray cluster that runs, or say in one line that there is none."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from eat_lightning.errors import ConfigError

CONNECT_S = 5  # for a head to take a connection; Ray itself tries for many minutes


def join_ray(key: str, address: str, **settings: Any) -> None:
    """Connect this process. address: host:port of the head; "auto": RAY_ADDRESS, or the cluster on
    this machine. settings: of `ray.init`. Raises ConfigError, which names `key`, where no cluster
    answers."""
    import ray

    found = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = found.rpartition(":")
    try:
        if host and port.isdecimal() and "://" not in host:
            socket.create_connection((host, int(port)), CONNECT_S).close()
        # "auto" as it is: only then Ray takes the token of a cluster that asks for one by itself.
        ray.init(address, logging_level=logging.WARNING, ignore_reinit_error=True, **settings)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError among them
        message = str(error).strip().partition("\n")[0]
        how = "`ray start --head` begins one; RAY_AUTH_MODE=token where it asks for a token"
        raise ConfigError(
            f"{key}={address}: no Ray cluster at {found} ({message}): {how}"
        ) from None
