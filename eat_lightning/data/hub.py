"""Check once, within seconds, whether the Hugging Face hub is reachable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def reachable() -> bool:
    """Check with a single request; `datasets` and `transformers` would retry for 24 s each."""
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
    """Use only the local cache, without retries, while the hub is unreachable."""
    import datasets.config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not reachable():
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
