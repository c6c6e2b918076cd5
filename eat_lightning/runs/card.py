"""The model card, `model/README.md`: a description of the model, its costs and its limits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData, try_to_load_from_cache
from jinja2 import Template

from eat_lightning.files import write_text
from eat_lightning.model.specification import Specification
from eat_lightning.record.dial import FOLDER, Dial
from eat_lightning.record.measured import Measured
from eat_lightning.runs.run import Run
from eat_lightning.weights.files import own_config

TEMPLATE = Path(__file__).with_name("card.md")
NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")  # of a hub's repository
FACTS = re.compile(r"^(license|license_name|base_model):[ \t]*([\w./-]+)[ \t]*$", re.M)
SLOTS = ("attention", "reduction", "exit", "head", "objective")


def write_card(run: Run, cached: Callable[[str, str], Any] = try_to_load_from_cache) -> None:
    """Write the card of a finished run with its current dials.

    Args:
        cached: finds a file of a hub model in the local cache.
    """
    path = run.folder / "model" / "README.md"
    template = Template(TEMPLATE.read_text("utf-8"), trim_blocks=True, lstrip_blocks=True)
    # A card keeps its base model: the folder that a relative path meant may be elsewhere by now.
    source = "" if path.is_file() else (run.config.get("encoder") or {}).get("pretrained") or ""
    front = front_matter(source, path if path.is_file() else card_of(source, cached))
    write_text(path, template.render(about(run), front=front) + "\n")


def card_of(source: str, cached: Callable[[str, str], Any]) -> Path:
    """Find the card of a model by its folder, or by its name if it was loaded from the hub."""
    if not is_hub_name(source):
        return Path(source, "README.md")
    found = cached(source, "README.md")
    return Path(found) if isinstance(found, str) else Path(source, "README.md")


def is_hub_name(source: str) -> bool:
    return not Path(source).exists() and NAME.fullmatch(source) is not None


def front_matter(source: str, card: Path, task: str = "text-classification") -> str:
    """Return the YAML front matter of a model card.

    Args:
        source: folder or hub name of the model that this one was made from.
        card: its card. Licence and base model are copied if they are plain names.
        task: name of the task on the hub.
    """
    text = card.read_text("utf-8", "replace")[: 1 << 16] if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    facts: dict[str, Any] = dict(FACTS.findall(front[1] if front else ""))
    if is_hub_name(source):
        facts["base_model"] = source
    tags = ["eat_lightning", "early-exit", "adaptive-inference"]
    kind = {"library_name": "transformers", "pipeline_tag": task, "tags": tags}
    return ModelCardData(**facts, **kind).to_yaml()


def about(run: Run) -> dict[str, Any]:
    """Return the values for the template of a run's card."""
    config, kept = run.model_config(), sorted((run.folder / FOLDER).glob("dial-*.json"))
    calibration = run.done.get("calibration") or {}
    return {
        "run": run,
        "opens_in_transformers": own_config(run.folder / "model") is not None,
        "labels": list(config.get("id2label", {}).values()),
        "backbone": (run.config.get("encoder") or {}).get("pretrained") or "random weights",
        "layers": config["num_layers"],
        "methods": list(methods(config)),
        "calibration": sorted(calibration.items(), key=lambda item: int(item[0])),
        "dials": [(dial, some_points(dial)) for dial in map(Dial.read, kept)],
    }


def some_points(dial: Dial) -> Iterator[Measured]:
    """Yield full depth, and points that are each at least a tenth of it cheaper than
    the previous.
    """
    step, most = dial.points[0].cost / 10, math.inf
    for point in dial.points:
        if point.cost <= most:
            yield point
            most = point.cost - step


def methods(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield slot, kind and settings of each method."""
    given = config | {"head": {"kind": "pooled"} | config["head"]}
    for slot in (slot for slot in SLOTS if slot in given):
        named = Specification.read(slot, given[slot])
        settings = ", ".join(f"{name} {value}" for name, value in named.arguments.items())
        yield slot, named.kind, settings
