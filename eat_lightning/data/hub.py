"""Check, made once and within seconds, that the Hugging Face hub answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def reachable() -> bool:
    """One request: left to themselves, `datasets` and `transformers` retry for 24 s each."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # which class depends on the HTTP library of the day (httpx, httpx2)
        return False
    return True


@contextmanager
def as_reachable() -> Iterator[None]:
    """Take, where the hub is unreachable, from the cache or nothing, without retries."""
    import datasets.config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not reachable():
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
