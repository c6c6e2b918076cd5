"""One sentence on its way, step by step: a small model is trained on the toy grammar when the site
is built, and the page shows what its encoder really did."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from docs.site.made import Page, filled
from docs.site.tutorial import command, runs_commands

TRAIN = (
    "data=toy encoder=tiny model=eat_pruned reduction.ratio=0.25 reduction.layers=[1,2,3,4] "
    "head.layers=all schedule=constant optimizer.lr=1e-3 trainer.max_steps=400 exit.tau=0.8 "
    "trainer.enable_progress_bar=false threads=1 study=tour measure.enabled=false"
)
TEMPLATE = Path(__file__).with_name("tour.html")


def pages() -> list[Page]:
    skipped = "<p>The tour was left out of this build.</p>"
    text = filled(TEMPLATE, walked()) if runs_commands() else skipped
    return [Page("how/sentence.html", text)]


def walked() -> list[dict[str, Any]]:
    """A few sentences as the example explorer describes them, under the run's own reduction."""
    from eat_lightning.report.explorer import explore
    from eat_lightning.runs.run import Run

    with tempfile.TemporaryDirectory() as folder:
        command("train", TRAIN, folder)
        run = Run.open(str(next(Path(folder, "outputs/tour").iterdir())))
        explored = explore(run, examples=12)
    return [
        {
            "tokens": example["tokens"],
            "kept": own["kept"],
            "exits": own["exits"],
            "left": next(rule for rule in own["rules"] if rule["own"]),
        }
        for example in explored["examples"]
        for own in example["ways"]
        if own["own"]
    ]
