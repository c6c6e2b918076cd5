"""Adaptive Transformer encoders: models that spend less on easy inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from pathlib import Path

    from eat_lightning.deploy.adapt.api import Adapted as Adapted
    from eat_lightning.deploy.verify.compare import Verification as Verification
    from eat_lightning.deploy.verify.plan import Build as Build
    from eat_lightning.engines.reranker import Reranker as Reranker

__version__ = "0.3.0"
LAZY = {  # names that bring torch or pydantic, which a version number need not
    "Adapted": "eat_lightning.deploy.adapt.api",
    "Build": "eat_lightning.deploy.verify.plan",
    "Reranker": "eat_lightning.engines.reranker",
    "Verification": "eat_lightning.deploy.verify.compare",
}

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


def verify(
    old: str | Path | Build,
    new: str | Path | Build,
    texts: str | Path | Sequence[str | Sequence[str]] | None = None,
    *,
    queries: str | Path | None = None,
    keep: int = 10,
    agree: float = 0.99,
    confidence: float = 0.95,
    per_class: Mapping[str, float] | None = None,
    positive: str | None = None,
    map: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    cuts: Sequence[float] = (),
    columns: Sequence[str] | None = None,
    most: int = 20000,
    batch: int = 32,
    threads: int | None = None,
    long: Literal["refuse", "cut"] | None = None,
    to: str | Path | None = None,
) -> Verification:
    """Compare two builds of one classifier: how many answers change, with an exact bound.

    ValueError, in one line, for settings, and for what cannot be compared.

    Args:
        old: the model whose answers are wanted: a folder of transformers, `train`, `export` or
            `adapt`, a hub's name, a server's URL, or a file of answers. A `Build` says how it is
            opened (engine, dtype, protocol).
        new: the model that may take its place.
        texts: a file or a folder of texts, or a list of them or of pairs. None: those of a file of
            answers.
        queries: of rerankers, in place of texts: a file of lists with `query` and `candidates`.
        keep: with queries, the number of best candidates. `agree` is then the average share of
            the best of `old` that are among those of `new`.
        agree: share of answers that must stay the same, between 0 and 1.
        confidence: of every bound, over draws of the texts.
        per_class: shares of the texts that `old` answers with a class, which must hold too.
        positive: class whose changes are counted by direction: away from it (permissive) and
            towards it (strict).
        map: names of labels to those that mean the same.
        tolerance: how far a score may move, in the score's unit.
        cuts: scores whose sides count, in place of a tolerance.
        columns: names of the columns of the texts, two for a pair. None: `text`, or the only one.
        most: texts that are used; of more, so many are drawn at random.
        batch: texts that are answered at once.
        threads: of the processor. None: all.
        long: refuse or cut texts of more tokens than a model reads. None: as an adapted classifier
            was certified, else refuse.
        to: folder for the page, the changed texts and both models' answers. None: none is written.
    """
    from eat_lightning.deploy.verify import api

    settings = {
        "queries": queries and str(queries),
        "keep": keep,
        "agree": agree,
        "confidence": confidence,
        "per_class": per_class and dict(per_class),
        "positive": positive,
        "map": map and dict(map),
        "tolerance": tolerance,
        "cuts": [*cuts],
        "columns": columns and [*columns],
        "most": most,
        "batch": batch,
        "threads": threads,
        "long": long,
        "to": to and str(to),
    }
    return api.verify(old, new, texts, settings)


def __dir__() -> list[str]:
    return [*globals(), *LAZY]


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)
