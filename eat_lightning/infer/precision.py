"""How a run's weights lie while it answers: as they were trained, or prepacked (prepacked.py).

A command's `prepack` says which. null: as the certificate in use has them; without one prepacked
wherever that can be. true: prepacked, or refused in a line. false: plain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eat_lightning.model.encoder import AdaptiveEncoder

PLAIN, PREPACKED = "plain", "prepacked"
FORMS = (PLAIN, PREPACKED)


def form_of(prepack: bool | None, dtype: str, device: str = "cpu", held: str | None = None) -> str:
    """The form that a command's weights take. held: that of its certificate, if any."""
    from eat_lightning.infer.prepacked import cannot_in

    asked = PREPACKED if prepack else PLAIN
    wanted = (held or PREPACKED) if prepack is None else asked
    return PLAIN if cannot_in(dtype, device) else wanted


def prepack_faults(prepack: Any, dtype: str, device: str = "cpu") -> list[str]:
    """Of a command's `prepack`, given its `dtype` and `device`."""
    from eat_lightning.infer.prepacked import cannot_in

    if prepack is not None and not isinstance(prepack, bool):
        return [f"prepack must be true, false or null, got {prepack!r}"]
    reason = cannot_in(dtype, device) if prepack else None
    return [f"prepack=true: {reason}"] if reason else []


def in_form(encoder: AdaptiveEncoder, form: str) -> AdaptiveEncoder:
    """The encoder itself, or a prepacked copy. Plain matrices are freed with the last reference to
    the encoder that has them, so keep none."""
    from eat_lightning.infer.prepacked import prepacked

    return prepacked(encoder) if form == PREPACKED else encoder
