"""`eat adapt model=<folder> texts=<file> to=<folder>`, and what `eat rerank` shares with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.bundle.bundle import CERTIFICATE, Bundle
from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.process import raise_on_sigterm
from eat_lightning.record.certificate import path_of

if TYPE_CHECKING:
    from eat_lightning.deploy.adapt.search import Bench

TRIAL = "trial (quick=true): fewer texts, engines, steps and timings, so that times are rough"
KEPT = (
    "what is finished lies beside `to`, ending in .part, and the same command goes on "
    "(exits that were learning begin again)"
)
# `model` is a group of train's configs, in which Hydra would look its value up.
RENAMED = {"model": "classifier"}


@contextmanager
def adapting(config: dict[str, Any]) -> Iterator[None]:
    """Name the model as its settings do, mark a trial, and report a full disk in one line."""
    from safetensors import SafetensorError

    raise_on_sigterm()
    config["model"] = config.pop("classifier")
    if config["quick"]:
        print(TRIAL, flush=True)
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors writes files by Rust
        reason = getattr(error, "strerror", None) or one_line(error, 120)
        again = "the same command goes on from what is kept"
        raise ConfigError(f"to={config['to']}: {reason} ({again})") from None
    if config["quick"]:
        print(TRIAL)


def summary(folder: Path) -> dict[str, Any]:
    """What `--json` prints: all numbers of the folder, and its certificates."""
    bundle = Bundle(folder)
    about = json.loads(bundle.about.read_text("utf-8"))
    if bundle.dial.is_file():
        about["candidates"] = json.loads(bundle.dial.read_text("utf-8"))["points"]
    certificate = path_of(folder, CERTIFICATE)
    certificates = [json.loads(certificate.read_text("utf-8"))]
    return {"to": str(folder), "adapted": about, "certificates": certificates}


def adapt(config: dict[str, Any], bench: Bench | None = None) -> Path:
    """Write the folder of an adapted classifier, and return its path.

    Raises ConfigError, one line per fault, for settings, for a classifier that cannot be adapted,
    and where nothing faster keeps the original's answers.

    Args:
        bench: what times texts, in place of this machine's clock.
    """
    with adapting(config):
        from eat_lightning.deploy.adapt.plan import AdaptSettings

        plan = AdaptSettings.of(config)
        from eat_lightning.deploy.adapt.report import candidates_table
        from eat_lightning.deploy.adapt.run import adapt as adapted

        result, to = adapted(plan, bench=bench), plan.to
        candidates_table(result).show()
        print("\n".join(line for line in (result.won, result.again, result.changes) if line))
        print(
            f"eat predict run={to}\neat serve run={to}\neat_lightning.load({to!r}).classify(texts)"
        )
        hf = f'pipeline("text-classification", model={to!r})'
        print(f"{hf}  # of transformers: the original, no faster")
    return Path(to)


main = entry(
    *("adapt", adapt),
    renamed=RENAMED,
    moved={"queries": "eat rerank"},
    summary=summary,
    kept=KEPT,
)
