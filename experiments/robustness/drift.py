"""Drift trials: how late the monitor finds a known shift, how often it alarms for nothing, and what
its fall-back to full depth is worth.

Every stream goes through the encoder once, with all exits recorded; a trial replays a monitor on
those records, in an order drawn by its seed. Shapes: B examples, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.data.source import Source, read_file
from eat_lightning.data.split import Split, make_split
from eat_lightning.deploy.drift.replay import rows_of
from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.monitor.monitor import ALARM, RETURN, DriftEvent, Monitor
from eat_lightning.monitor.observation import Observation, observations
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.report.result import Result
from eat_lightning.runs.run import Run
from eat_lightning.weights.precision import form_of, in_form

TYPO_RATES, TYPO_SEEDS = (0.01, 0.02, 0.05, 0.1, 0.2), (0, 1, 2)  # a rate is of the letters
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAILS = {  # a data set's part and its column of text; its labels are none of SST-2's
    "mail subjects": ("email_phish_spam/train", "subject"),
    "mail bodies": ("email_phish_spam/validation", "text"),
    "text messages": ("sms_spam/train", "text"),
}
REFERENCE, USUAL = "certificate", "validation"
SEEDS = 6
RECOVERIES = {0.9: 2, 0.6: 0}  # by tau: orders in which dev comes back
USUAL_LENGTH = 100_000  # examples for one false alarm
REDRAWN, DEV = "calibration part redrawn", "dev against the calibration part"
CONTROLS = {  # by what is redrawn, then by run length: streams, and examples in each
    REDRAWN: {1000: (10, 2000), 10_000: (30, 5000), USUAL_LENGTH: (10, 10_000)},
    DEV: {USUAL_LENGTH: (10, 10_000)},
}


def record_streams(run: Run, data_dir: Path, folder: Path) -> dict[str, Record]:
    """Every stream's recorded exits by its name; a file that is there already is not made again."""
    data, found = run.data(dir=str(data_dir)), {}
    encoder = in_form(run.model()[0], form_of(None, "fp32"))
    for split in splits_of(run, data, data_dir):
        path = folder / f"{run.task.name}-{split.name.replace(' ', '_')}.parquet"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            record(encoder, split, 32, split.name).to_parquet(path)
            print(path, flush=True)
        found[split.name] = Record.read(path)
    return found


def splits_of(run: Run, data: Any, data_dir: Path) -> Iterator[Split]:
    """The calibration part, dev, and the shifted streams that a task has."""
    yield from map(data.split, (REFERENCE, USUAL))
    sources = {"mnli": snli, "sst2": of_reviews}
    if run.task.name not in sources:
        raise ConfigError(f"shifts are known of sst2 and mnli, got {run.task.name}")
    for name, source in sources[run.task.name](run, data, data_dir):
        yield make_split(name, source, data.tokenizer, data.max_length, data.cache_dir)


def snli(run: Run, data: Any, data_dir: Path) -> Iterator[tuple[str, Source]]:
    yield "snli", read_file(run.task, data_dir / "snli" / "validation.parquet")


def of_reviews(run: Run, data: Any, data_dir: Path) -> Iterator[tuple[str, Source]]:
    """Dev with typos, and texts that are no reviews, whose label is -1."""
    dev = data.split(USUAL).source
    for rate in TYPO_RATES:
        texts = [t for seed in TYPO_SEEDS for t in with_typos(dev.texts[0], rate, seed)]
        yield f"typos {100 * rate:g} %", Source([texts], np.tile(dev.labels, len(TYPO_SEEDS)))
    for name, (part, column) in MAILS.items():
        rows = rows_of(data_dir / f"{part}.parquet", [column], 1000)
        texts = [line.texts[0] for lines in rows for line in lines]
        yield name, Source([texts], np.full(len(texts), -1))


def with_typos(texts: Sequence[str], rate: float, seed: int) -> list[str]:
    """The texts with each letter deleted, doubled, swapped or replaced with probability `rate`
    (Belinkov and Bisk 2018)."""
    rng = np.random.default_rng(seed)
    return [mistyped(text, rate, rng) for text in texts]


def mistyped(text: str, rate: float, rng: np.random.Generator) -> str:
    hit_B, made, i = rng.random(len(text)) < rate, [], 0
    while i < len(text):
        letter = text[i]
        if not (hit_B[i] and letter.isalpha()):
            made.append(letter)
        else:
            kind = rng.integers(4)  # 0 deletes
            if kind == 1:
                made.append(letter * 2)
            elif kind == 2 and i + 1 < len(text) and text[i + 1].isalpha():
                made.append(text[i + 1] + letter)
                i += 1
            elif kind >= 2:  # at a word's end there is no letter to swap with
                made.append(LETTERS[rng.integers(26)])
        i += 1
    return "".join(made)


@dataclass
class Stream:
    """A recorded stream under an exit rule: what a monitor sees of each example, and a frame of
    labels, answers, depths and costs, with exits and at full depth."""

    name: str
    tau: float
    seen: list[Observation]
    examples: DataFrame

    @classmethod
    def of(cls, name: str, recorded: Record, tau: float) -> Stream:
        early = recorded.replay(Confidence(tau, [3, 4]))
        columns = {
            "label": recorded.labels,
            "early": early.logits_BC.argmax(-1),
            "full": recorded.guesses[len(recorded.tokens_LB)].argmax(-1),
            "depth": early.depth_B,
            "cost_early": recorded.token_layers_B(early),
            "cost_full": recorded.tokens_LB.mean(0) / recorded.tokens_LB[0],
        }
        return cls(name, tau, observations(early), DataFrame(columns))

    @property
    def is_labelled(self) -> bool:
        return bool((self.examples["label"] >= 0).all())


def trials(task: str, recorded: dict[str, Record]) -> Iterator[Result]:
    """All trials of one task: shifts that stay, shifts that go, and streams without any."""
    for tau, recoveries in RECOVERIES.items():
        found = {name: Stream.of(name, of, tau) for name, of in recorded.items()}
        reference, usual = found.pop(REFERENCE), found.pop(USUAL)
        for shifted in found.values():
            if recoveries or shifted.is_labelled:
                for seed in range(SEEDS):
                    yield shift_trial(task, Episode(reference, usual, shifted, seed, 2000))
            for seed in range(recoveries):
                yield recovery_trial(task, Episode(reference, usual, shifted, seed, 1000))
        for name, sizes in CONTROLS.items() if recoveries else ():
            for length, (streams, num) in sizes.items():
                for seed in range(streams):
                    yield control_trial(task, reference, usual, name, length, num, seed)


def replay(monitor: Monitor, seen: Iterable[Observation]) -> tuple[list[DriftEvent], np.ndarray]:
    """The monitor's events, and which of the examples it had answered at full depth."""
    events, full = [], []
    for each in seen:
        full.append(monitor.full_depth)
        if event := monitor.observe(each):
            events.append(event)
    return events, np.array(full)


def of_kind(kind: str, events: Iterable[DriftEvent]) -> list[DriftEvent]:
    return [event for event in events if event.event == kind]


class Episode:
    """500 examples as usual, then up to `most` shifted ones, in an order by `seed`. `alarm` is the
    first one within the shift."""

    def __init__(self, reference: Stream, usual: Stream, shifted: Stream, seed: int, most: int):
        self.usual, self.shifted, self.seed = usual, shifted, seed
        self.rng = np.random.default_rng(seed)
        before = self.rng.permutation(len(usual.seen))[:500]
        self.rows = self.rng.permutation(len(shifted.seen))[:most]
        self.monitor = Monitor(reference.seen, seed=int(self.rng.integers(1 << 32)))
        events, _ = replay(self.monitor, [usual.seen[row] for row in before])
        self.start, self.num_before = self.monitor.at, len(before)
        self.false_alarms = len(of_kind(ALARM, events))
        events, self.full_B = replay(self.monitor, [shifted.seen[row] for row in self.rows])
        self.alarm = next(iter(of_kind(ALARM, events)), None)

    def result(self, kind: str, task: str, **values: Any) -> Result:
        what = {"kind": kind, "task": task, "stream": self.shifted.name, "tau": self.shifted.tau}
        what |= {"run_length": self.monitor.detector.run_length, "seed": self.seed}
        values |= {"num_before": self.num_before, "alarms": self.false_alarms}
        values |= {"num_shifted": len(self.rows)}
        values |= {"feature": self.alarm.feature if self.alarm else None}
        return Result(what, {name: value for name, value in values.items() if value is not None})


def shift_trial(task: str, episode: Episode) -> Result:
    """Delay of the alarm; accuracy and cost with open exits, under watch, and at full depth."""
    e, full_B = episode.shifted.examples.iloc[episode.rows], episode.full_B
    answers = {"early": e["early"], "watched": np.where(full_B, e["full"], e["early"])}
    found = {f"changed_{how}": answer_B != e["full"] for how, answer_B in answers.items()}
    if episode.shifted.is_labelled:
        all_three = answers | {"full": e["full"]}
        found |= {f"accuracy_{how}": answer == e["label"] for how, answer in all_three.items()}
    found |= {"cost_early": e["cost_early"], "cost_full": e["cost_full"], "full_share": full_B}
    found["cost_watched"] = np.where(full_B, e["cost_full"], e["cost_early"])
    found["depth_early"] = e["depth"]
    means = {name: float(values_B.mean()) for name, values_B in found.items()}
    delay = episode.alarm.at - episode.start if episode.alarm else None
    return episode.result("shift", task, delay=delay, **means)


def recovery_trial(task: str, episode: Episode) -> Result:
    """Examples until the return, where dev (3,000 draws with replacement) follows the shift."""
    monitor, start, was_full = episode.monitor, episode.monitor.at, episode.monitor.full_depth
    after = episode.rng.integers(0, len(episode.usual.seen), 3000)
    events, full_B = replay(monitor, [episode.usual.seen[row] for row in after])
    returns = of_kind(RETURN, events)
    back = returns[0].at - start if was_full and returns else None
    counts = {"back": back, "again": len(of_kind(ALARM, events)), "num_after": len(after)}
    return episode.result("recovery", task, full_share=float(full_B.mean()), **counts)


def control_trial(
    task: str, reference: Stream, usual: Stream, name: str, run_length: int, num: int, seed: int
) -> Result:
    """False alarms in an unshifted stream. Where the calibration part is redrawn too, both come
    from one distribution, so that the bound's condition holds exactly."""
    rng, known, seen = np.random.default_rng(seed), reference.seen, usual.seen
    if name == REDRAWN:
        seen = [*known, *seen]
        known = [seen[i] for i in rng.integers(0, len(seen), len(known))]
    monitor = Monitor(known, run_length=run_length, seed=int(rng.integers(1 << 32)))
    events, full_B = replay(monitor, [seen[i] for i in rng.integers(0, len(seen), num)])
    what = {"kind": "control", "task": task, "stream": name, "tau": reference.tau}
    share = float(full_B.mean())
    values = {"num_before": num, "alarms": len(of_kind(ALARM, events)), "full_share": share}
    return Result(what | {"run_length": run_length, "seed": seed}, values)
