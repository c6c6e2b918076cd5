"""Adaptive Transformer encoders: models that spend less on easy inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from eat_lightning.deploy.adapt.api import Adapted as Adapted
    from eat_lightning.engines.reranker import Reranker as Reranker

__version__ = "0.3.0"

# `python -m eat_lightning.predict` finds the commands of deploy/. Code imports them by their full
# names (eat_lightning.deploy.predict), since no module may be loaded under two names.
__path__.append(f"{__path__[0]}/deploy")


@overload
def adapt(model: Any, *, queries: Any, to: Any = None, **settings: Any) -> Reranker: ...
@overload
def adapt(model: Any, texts: Any, to: Any = None, **settings: Any) -> Adapted: ...
def adapt(model: Any, texts: Any = None, to: Any = None, **settings: Any) -> Any:
    """Make a tuned classifier faster, certified on texts without labels to answer the same.

    ValueError, in one line, for settings, and for what cannot be adapted.

    Args:
        model: a folder, or a hub's name.
        texts: a file or a folder of texts, or a list of them or of pairs.
        to: the folder to write; None: a temporary one, for `save`.
        settings: agree, confidence, and the other keys of `eat adapt`; `queries`, of a
            cross-encoder in place of texts, a file or dicts of `query` and `candidates`.
    """
    from eat_lightning.deploy.adapt import api  # brings torch, which a version number need not

    return api.adapt(model, texts, to, **settings)


def __dir__() -> list[str]:
    return [*globals(), "Adapted", "Reranker"]


def __getattr__(name: str) -> Any:
    if name == "Adapted":
        from eat_lightning.deploy.adapt.api import Adapted  # brings torch, as above

        return Adapted
    if name != "Reranker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from eat_lightning.engines.reranker import Reranker

    return Reranker
