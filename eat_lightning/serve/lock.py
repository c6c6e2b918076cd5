"""One gateway for a folder that it writes."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from eat_lightning.errors import ConfigError


def only_gateway(path: Path, setting: str) -> FileLock:
    """Hold a lock file until it is released, or this process ends. ConfigError where another
    gateway holds it; setting: the key and value that name its folder."""
    lock = FileLock(path, mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{setting} is another gateway's, which runs") from None
    except OSError as error:
        raise ConfigError(f"{setting}: cannot be used ({error})") from None
    return lock
