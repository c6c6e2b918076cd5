"""Streams whose shift is known, as splits that a run's encoder can be recorded on once.

`sst2`: dev with typos, mail subjects and bodies, text messages; `mnli`: SNLI's dev part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.data.source import Source, read_file
from eat_lightning.data.split import Split, make_split
from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import form_of, in_form
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.runs.run import Run

from .typos import with_typos

RATES = 0.01, 0.02, 0.05, 0.1, 0.2  # of letters
TYPO_SEEDS = 0, 1, 2
MAILS = {  # a data set's part, and its column of text: its labels are none of sst2's
    "mail subjects": ("email_phish_spam/train", "subject"),
    "mail bodies": ("email_phish_spam/validation", "text"),
    "text messages": ("sms_spam/train", "text"),
}
UNSHIFTED = "certificate", "validation"


def streams(run: Run, data: Any, dir: Path) -> Iterator[Split]:
    """The calibration part, dev, and the shifted ones."""
    for name in UNSHIFTED:
        yield data.split(name)
    for name, source in shifted(run, data, dir):
        yield make_split(name, source, data.tokenizer, data.max_length, data.cache_dir)


def shifted(run: Run, data: Any, dir: Path) -> Iterator[tuple[str, Source]]:
    from eat_lightning.deploy.drift.stream import rows_of

    if run.task.name == "mnli":
        yield "snli", read_file(run.task, dir / "snli" / "validation.parquet")
        return
    if run.task.name != "sst2":
        raise ConfigError(f"shifts are known of sst2 and mnli, got {run.task.name}")
    dev = data.split("validation").source
    for rate in RATES:
        texts = [t for seed in TYPO_SEEDS for t in with_typos(dev.texts[0], rate, seed)]
        yield f"typos {100 * rate:g} %", Source([texts], np.tile(dev.labels, len(TYPO_SEEDS)))
    for name, (part, column) in MAILS.items():
        parts = rows_of(dir / f"{part}.parquet", [column], 1000)
        texts = [line.texts[0] for lines in parts for line in lines]
        yield name, Source([texts], np.full(len(texts), -1))


def record_all(run: Run, dir: Path, folder: Path, batch: int = 32) -> Iterator[Path]:
    """Record every head's guesses on every stream, a parquet file each; existing files are kept."""
    data = run.data(dir=str(dir))
    encoder = in_form(run.model()[0], form_of(None, "fp32"))
    for split in streams(run, data, dir):
        path = folder / f"{run.task.name}-{split.name.replace(' ', '_')}.parquet"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            record(encoder, split, batch, split.name).to_parquet(path)
        yield path


def recorded(folder: Path, task: str) -> dict[str, Record]:
    """By the stream's name."""
    found = {
        path.stem.removeprefix(f"{task}-").replace("_", " "): Record.read(path)
        for path in sorted(folder.glob(f"{task}-*.parquet"))
    }
    lacking = [name for name in UNSHIFTED if name not in found]
    if lacking:
        raise ConfigError(f"{folder} has no {task}-{lacking[0]}.parquet: record the streams first")
    return found
