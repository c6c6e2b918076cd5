"""Answers of libmagic and magika about a complete file: peers in a table, never the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eat_lightning.report.study import grouped_by

from .formats import LABELS, group_of_mime, verdict
from .variants import Variant


def libmagic() -> Callable[[bytes], str]:
    """Bytes -> a MIME type. ImportError without libmagic."""
    import magic

    look = magic.Magic(mime=True)
    return look.from_buffer


def magika() -> Callable[[bytes], str]:
    from magika import Magika

    look = Magika()
    return lambda content: str(look.identify_bytes(content).output.mime_type)


PEERS: dict[str, Callable[[], Callable[[bytes], str]]] = {"libmagic": libmagic, "magika": magika}


def judged(variants: Sequence[Variant], look: Callable[[bytes], str]) -> list[int]:
    """Labels by the same rule as the truth's, with the group that `look` sees."""
    return [
        LABELS.index(verdict(v.filename, v.mime, group_of_mime(look(v.content)))) for v in variants
    ]


def tallies(variants: Sequence[Variant], answers: Sequence[int], peer: str) -> list[dict[str, Any]]:
    """For each kind how many there are, how many got their label, and how many went to `deep`: all
    but what is called matching."""
    pairs = grouped_by(zip(variants, answers, strict=True), lambda pair: pair[0].kind)
    return [
        {
            "peer": peer,
            "kind": kind,
            "n": len(here),
            "right": sum(variant.label == answer for variant, answer in here),
            "deep": sum(answer != LABELS.index("matching") for _, answer in here),
        }
        for kind, here in pairs.items()
    ]
