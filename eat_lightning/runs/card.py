"""The model card, `model/README.md`: what a model is, what it may cost, and what it is not for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Template

from eat_lightning.files import write_text
from eat_lightning.model.specification import without_kind
from eat_lightning.runs.run import Run
from eat_lightning.weights.dial import FOLDER, Dial, DialPoint, read

TEMPLATE = Path(__file__).with_name("card.md")
SLOTS = ("attention", "reduction", "exit", "head", "objective")


def write_card(run: Run) -> None:
    """Write the card of a finished run anew, with the dials kept by now."""
    template = Template(TEMPLATE.read_text("utf-8"), trim_blocks=True, lstrip_blocks=True)
    write_text(run.folder / "model" / "README.md", template.render(about(run)) + "\n")


def about(run: Run) -> dict[str, Any]:
    """Return the values that the template of a run's card shows."""
    config, kept = run.model_config(), sorted((run.folder / FOLDER).glob("dial-*.json"))
    calibration = run.done.get("calibration") or {}
    return {
        "run": run,
        "labels": list(config.get("id2label", {}).values()),
        "backbone": (run.config.get("encoder") or {}).get("pretrained") or "random weights",
        "layers": config["num_layers"],
        "methods": list(methods(config)),
        "calibration": sorted(calibration.items(), key=lambda item: int(item[0])),
        "dials": [(dial, some_points(dial)) for dial in map(read, kept)],
    }


def some_points(dial: Dial) -> Iterator[DialPoint]:
    """Full depth, and the next points that cost at least a tenth of it less."""
    step, most = dial.points[0].cost / 10, math.inf
    for point in dial.points:
        if point.cost <= most:
            yield point
            most = point.cost - step


def methods(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Slot, kind and settings of each method."""
    for slot in SLOTS:
        spec = config.get(slot) or {}
        settings = ", ".join(f"{name} {value}" for name, value in without_kind(spec).items())
        yield slot, spec.get("kind", "pooled"), settings
