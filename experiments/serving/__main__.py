"""`python -m experiments.serving run=<folder>`: what a gateway sustains."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError
from eat_lightning.progress import shown

if TYPE_CHECKING:
    from experiments.serving.rows import LoadRow


def load(config: dict[str, Any]) -> list[LoadRow]:
    """Measure every subject in every mode; returns the new rows, each gateway's written when it
    has ended.

    Raises ConfigError, one line per fault, before a gateway is started.
    """
    from eat_lightning.measure.plan import data_faults
    from eat_lightning.runs import jsonl
    from eat_lightning.runs.certificate import Certificate
    from eat_lightning.runs.run import Run, provenance
    from eat_lightning.runs.training_mark import training_faults
    from experiments.serving.plan import LoadSettings, pin
    from experiments.serving.rows import LoadRow
    from experiments.serving.subject import load_rows, subjects

    plan = parsed(LoadSettings, config)
    run = Run.open(plan.run)
    busy = [] if plan.force else training_faults("force=true")
    if faults := busy + data_faults(run, plan.split, plan.data.model_dump()):
        raise ConfigError.of(faults)
    texts = run.data(dir=plan.data.dir).source(plan.split).texts
    examples = [dict(zip(run.task.columns, each, strict=True)) for each in zip(*texts, strict=True)]
    about = {"run": run.name, "task": run.task.name, "session": secrets.token_hex(6)}
    about |= provenance()
    pin(plan.load_core)
    named = plan.certificate
    certified = None if named is None else Certificate.read(run, named).form
    path, rows = Path(plan.to) / "rows.jsonl", []
    for mode in plan.modes:
        static: dict[str, float] = {}
        gateways = subjects(plan, certified)
        for subject in shown(gateways, f"gateways, {mode}", fewest=2):
            fresh = load_rows(plan, mode, subject, examples, about, static)
            print(*fresh, sep="\n", flush=True)
            if not plan.force and training_faults("force=true"):
                raise ConfigError("training began meanwhile: the last times are not kept")
            jsonl.update(path, LoadRow, fresh)
            rows += fresh
    print(f"written: {path}")
    return rows


main = entry("load", load, folder=str(Path(__file__).parent))

if __name__ == "__main__":
    main()
