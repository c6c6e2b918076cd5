"""`python -m eat_lightning.adapt model=<folder> texts=<file> to=<folder>`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError
from eat_lightning.process import raise_on_sigterm

if TYPE_CHECKING:
    from eat_lightning.deploy.adapt.search import Bench


TRIAL = "trial (quick=true): fewer texts, engines, steps and timings; not a result to serve"


def adapt(config: dict[str, Any], bench: Bench | None = None) -> Path:
    """Write the folder of an adapted classifier, and return its path.

    Raises ConfigError, one line per fault, for settings, for a classifier that cannot be adapted,
    and where nothing faster keeps the original's answers.

    Args:
        bench: what times texts, in place of this machine's clock.
    """
    from safetensors import SafetensorError

    from eat_lightning.errors import one_line

    raise_on_sigterm()
    config["model"] = config.pop("classifier")
    if config["quick"]:
        print(TRIAL, flush=True)
    try:
        if config["queries"] is not None:
            of_lists(config)
        else:
            of_texts(config, bench)
    except (OSError, SafetensorError) as error:  # safetensors writes files by Rust
        reason = getattr(error, "strerror", None) or one_line(error, 120)
        again = "the same command goes on from what is kept"
        raise ConfigError(f"to={config['to']}: {reason} ({again})") from None
    if config["quick"]:
        print(TRIAL)
    return Path(config["to"])


def summary(folder: Path) -> dict[str, Any]:
    """What `--json` prints: all numbers of the folder, and its certificates."""
    about = next(
        path for path in (folder / "adapted.json", folder / "lists.json") if path.is_file()
    )
    certificates = sorted((folder / "certificates").glob("*.json"))
    return {
        "to": str(folder),
        "adapted": json.loads(about.read_text("utf-8")),
        "certificates": [json.loads(path.read_text("utf-8")) for path in certificates],
    }


def of_texts(config: dict[str, Any], bench: Bench | None = None) -> None:
    """Adapt a classifier of texts."""
    from eat_lightning.deploy.adapt.plan import AdaptSettings

    plan = AdaptSettings.of(config)
    from eat_lightning.deploy.adapt.report import candidates_table
    from eat_lightning.deploy.adapt.run import adapt as adapted

    result = adapted(plan, bench=bench)
    candidates_table(result).show()
    print("\n".join(line for line in (result.won, result.again, result.changes) if line))
    to = plan.to
    print(
        f"eat predict run={to}\neat serve run={to}\neat_lightning.Adapted({to!r}).classify(texts)"
    )
    print(
        f'pipeline("text-classification", model={to!r})  # of transformers: the original, no faster'
    )


def of_lists(config: dict[str, Any]) -> None:
    """Adapt a cross-encoder of lists."""
    from eat_lightning.deploy.adapt.plan import ListSettings

    plan = ListSettings.of(config)
    from eat_lightning.deploy.adapt.list_run import adapt_lists

    result = adapt_lists(plan)
    print(result.won)
    print(result.in_order)
    print(f"eat_lightning.Reranker({plan.to!r}).rank(query, candidates)")


# `model` is a group of train's configs, in which Hydra would look its value up.
main = entry(
    *("adapt", adapt),
    renamed={"model": "classifier"},
    summary=summary,
    kept="what is finished lies beside `to`, ending in .part, and the same command goes on "
    "(exits that were learning begin again)",
)

if __name__ == "__main__":
    main()
