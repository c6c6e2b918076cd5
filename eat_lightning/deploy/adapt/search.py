"""Candidates: which keep the original's answers, how fast each is here, and which is certified.

Learn then Test by a fixed sequence (Angelopoulos et al. 2021): on *select* the candidates are put
in order, from one that is nearly sure to hold to ever faster and riskier ones. On *certify* they
are tested in that order, each at the full error, until one fails. The last that holds is chosen.

Shapes: N texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import numpy as np

from eat_lightning.data.batching import spread_rows
from eat_lightning.deploy.adapt.cascade import FirstModel, PairedSplit
from eat_lightning.deploy.adapt.forms import DTYPES, Deployed, Forms
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.deploy.score.plan import cores
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import ExitRule, at_point, open_layers
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim, Tally, holding, tallied
from eat_lightning.record.measured import Measured
from eat_lightning.record.open_exits import opened
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.record.same_answer import SameAnswer
from eat_lightning.record.timing import speed_up, time_all

TITLES = {"select": "texts for choosing", "certify": "texts of the certificate"}
ROOMS = (0.99, 0.9, 0.6)  # chances of holding on *certify*, at which points of a dial are tried
SAFE = 0.99  # chance of the first of the sequence
NEAR = 1.25  # exits are tried in forms that take at most so many times the fastest static one
AS_FAST = 1.1  # points are made ready that are expected to take at most so many times the fastest
WORTH = 1.03  # a candidate is tested that is so many times as fast as a safer one
POINTS, AHEAD = 40, 1.5  # of a dial: up to so many times the changes that may be certified
FINAL = 2.0  # and these are timed once more beside them
SCREENING = {"examples": 100, "repeats": 1}  # at most, of static forms: finalists are timed again
# The time of a form that answers only now and then, by that of one that answers each text, until
# it is measured. Of small models the weights have left the caches meanwhile: 2.0 was seen on six
# layers, 1.0 on twelve, which never fit.
COLD = 2.0
OFTEN = 0.1  # share of the texts that are answered again where that is measured
ALONE, ROUNDED = 16, 2  # texts that are answered alone too, and how many may then differ
LOW = 2  # forms below fp32, the fastest, are tried with a higher precision behind them
HEAD = 0.3  # layers that a guess costs, until it is measured: 0.2 to 0.6 were seen on six layers
LEAST_HEAD = 0.05


@dataclass(frozen=True)
class Bench:
    """What the machine says of candidates.

    Args:
        timed: finds their times, as `time_all` does.
        guess: layers that an open exit costs; None: that is measured, as is what an answer again
            costs.
        cores: on which passes that are not timed run.
    """

    timed: Callable[..., Iterable[Mapping[str, Any]]] = time_all
    guess: float | None = None
    cores: Callable[[], Sequence[int]] = cores

    def threads(self, timed: int) -> int:
        """Threads of passes that are not timed: one for each core, and no fewer than of those that
        are."""
        return max(timed, len(self.cores()))


@dataclass(frozen=True)
class Leaving:
    """An exit rule at a point, and what comes of it on *select*."""

    exit: Specification
    trace: Trace

    @property
    def depth(self) -> float:
        """Layers that an example runs on average."""
        return float(self.trace.depth_B.mean())

    @property
    def guesses(self) -> float:
        """Open exits that it meets on average."""
        layers = open_layers(self.exit.build())
        return float(np.searchsorted(layers, self.trace.depth_B, side="right").mean())

    def layers(self, guess: float) -> float:
        """Cost of an example in layers, of which an open exit costs `guess`."""
        return self.depth + guess * self.guesses


@dataclass
class Search:
    """The search for the fastest candidate whose claims hold.

    Args:
        claims: about changed answers, of all texts and of single classes.
        splits, original: *select* and *certify*, and the original's logits there.
        batch: texts at once, for which the fastest is wanted.
        times: arguments of `time_all`.
        small: a model for cascades.
        bench: finds times.
        guesses: layers that an open exit costs, by form; measured so far.
        colds: how many times as long a form takes that answers now and then, by what answers first
            and its own key; measured so far.
        dials: that were fitted so far, by precision and cost of an open exit.
    """

    forms: Forms
    same: SameAnswer
    claims: Sequence[Claim]
    splits: Mapping[str, Any]
    original: Mapping[str, np.ndarray]
    work: Work
    batch: int
    threads: int
    times: dict[str, int]
    small: FirstModel | None = None
    bench: Bench = Bench()
    guesses: dict[str, float] = field(default_factory=dict)
    colds: dict[tuple[str, str], float] = field(default_factory=dict)
    dials: dict[tuple[str, float], list[Leaving]] = field(default_factory=dict)

    def run(self, engines: list[str], exits: bool = True) -> list[Measured]:
        """Find all candidates, timed; those of the sequence are tested.

        Args:
            engines: that are tried beside our kernels, where they are installed.
            exits: tries them too.
        """
        first = Measured(Point.whole("transformers"), depth=self.forms.num_layers)
        first.counts, first.chance = self.judged(np.zeros(len(self.splits["select"]), bool))
        statics = [first, *map(Measured, self.forms.available(engines))]
        self.time("static", statics, SCREENING)
        self.judge_fast(statics[1:])
        near = self.for_exits(statics[1:])
        adaptive = self.adaptive(statics[1:], exits)
        adaptive += [candidate for static in near for candidate in self.cascades(static)]
        finalists = [first, *self.near_fastest(statics[1:], FINAL)]
        finalists += [c for c in near if all(c is not known for known in finalists)]
        finalists += adaptive
        self.time("finalists", finalists)
        self.certify(finalists)
        return [*statics, *adaptive]

    def judged(self, changed_N: np.ndarray) -> tuple[list[Tally], float]:
        """Count changes on *select*, and predict the chance of holding on *certify*."""
        counts = tallied(self.claims, changed_N, self.same.groups(self.original["select"]))
        none_N = np.zeros(len(self.splits["certify"]), bool)
        others = tallied(self.claims, none_N, self.same.groups(self.original["certify"]))
        chances = [a.chance(b.num) for a, b in zip(counts, others, strict=True)]
        return counts, min(chances)

    def judge_fast(self, statics: Sequence[Measured]) -> None:
        """Judge static forms from the fastest on, as far as one could be chosen or have exits."""
        slowest = float("inf")
        for candidate in sorted((c for c in statics if c.ms), key=self.speed):
            if self.speed(candidate) > slowest:
                candidate.fault = "slower than one that keeps it"
                continue
            self.judge(candidate)
            if candidate.chance >= SAFE:
                slowest = min(slowest, NEAR * self.speed(candidate))

    def judge(self, candidate: Measured) -> None:
        """Answer *select* as deployed, and count."""
        trace = self.trace(candidate, "select")
        changed_N = self.same.changed(self.original["select"], trace.logits_BC)
        candidate.counts, candidate.chance = self.judged(changed_N)
        candidate.depth = float(trace.depth_B.mean())

    def trace(self, candidate: Measured, part: str) -> Trace:
        """Answer a part as deployed, but on all cores, since no time is taken."""
        threads = self.bench.threads(self.threads)
        split, answers = self.split(candidate, part), self.deployed(candidate, threads).answers
        title = f"{candidate.name}, {TITLES[part]}"
        return self.work.trace(f"{candidate.point.key} {part}", split, answers, title)

    def deployed(self, candidate: Measured, threads: int | None = None) -> Deployed:
        """Make a candidate ready. For `threads` see `Forms.deployed`."""
        point = candidate.point
        made, first = self.forms.deployed(point, threads), self.first(point)
        if first is None:
            return made
        return first.then(made, point, self.forms.num_layers, threads)

    def split(self, candidate: Measured, part: str) -> Any:
        first, split = self.first(candidate.point), self.splits[part]
        return split if first is None else PairedSplit(first.splits[part], split)

    def first(self, point: Point) -> FirstModel | None:
        """What answers first at a point."""
        if point.before is None:
            return None
        return FirstModel(self.forms, point.before, self.splits) if point.falls_back else self.small

    def speed(self, candidate: Measured) -> float:
        return candidate.ms.get(str(self.batch), float("inf"))

    def near_fastest(self, statics: Sequence[Measured], times: float) -> list[Measured]:
        """The likely ones that take at most so many times the fastest of them."""
        likely = [c for c in statics if c.ms and c.chance >= min(ROOMS)]
        least = min(map(self.speed, likely), default=0.0)
        return [c for c in likely if self.speed(c) <= times * least]

    def for_fallback(self, statics: Sequence[Measured]) -> list[Measured]:
        """The fastest of the judged forms below fp32, likely to hold or not; a score has none."""
        low = [c for c in statics if c.ms and c.counts and c.point.dtype != DTYPES[0]]
        return sorted(low, key=self.speed)[:LOW] if self.same.labels else []

    def for_exits(self, statics: Sequence[Measured]) -> list[Measured]:
        """The likely ones near the fastest, and the fastest that is nearly sure to hold: where a
        faster form fails by itself, so do its exits."""
        near = self.near_fastest(statics, NEAR)
        sure = sorted((c for c in statics if c.ms and c.chance >= SAFE), key=self.speed)
        return [*near, *(c for c in sure[:1] if all(c is not other for other in near))]

    def leaving(self, form: Point) -> list[Leaving]:
        """The points of the dial of a form, from strict to lax, and the exit before layer 1 alone
        behind them. They are found once."""
        key = form.dtype, self.guess(form)
        if key not in self.dials:
            self.dials[key] = [*self.fitted(*key)]
        return self.dials[key]

    def guess(self, form: Point) -> float:
        """Layers that an open exit costs: its guess, and the change to the next graph."""
        known = HEAD if self.bench.guess is None else self.bench.guess
        return self.guesses.get(form.key, known)

    def fitted(self, dtype: str, guess: float) -> Iterator[Leaving]:
        """Choose the open exits of a precision for each number of expected changes."""
        rule = self.forms.encoder.exit
        record = replace(self.record(dtype), exit=rule)
        # Of texts in windows the dial is fitted on windows, and judged by texts.
        original_NC = self.original["select"] if record.join is None else None
        most = self.most_changes() * record.num_rows / len(self.splits["select"])
        counts = np.linspace(0, AHEAD * most + 1, POINTS + 1)[1:].tolist()
        exits = [*opened(rule, record.rows, guess, counts, original_NC)]
        exits.append(Specification.of("exit", at_point(rule, everybody_at_first(rule))))
        for exit in exits:
            trace = record.replay(Point(methods={"exit": exit}))
            yield Leaving(exit, Trace(trace.logits_BC, trace.depth_B))

    def most_changes(self) -> int:
        """The most changes on *select* with which the claim about all texts may be certified."""
        tally, num = self.judged(np.zeros(len(self.splits["select"]), bool))[0][0], 0
        size = len(self.splits["certify"])
        while num < tally.num and replace(tally, changed=num + 1).chance(size) >= min(ROOMS):
            num += 1
        return num

    def replayed(self, point: Point, trace: Trace, share: float = math.nan) -> Measured:
        """Judge a point by its answers to *select*."""
        made = Measured(point, depth=float(trace.depth_B.mean()), share=share, trace=trace)
        changed_N = self.same.changed(self.original["select"], trace.logits_BC)
        made.counts, made.chance = self.judged(changed_N)
        return made

    def record(self, dtype: str) -> Record:
        """Read the guesses of all heads on *select* (on each window), or make and keep them."""
        path = self.work.folder / f"record-{dtype}.parquet"
        if not path.is_file():
            self.forms.record(dtype, self.splits["select"]).to_parquet(path)
        return Record.read(path)

    def cascades(self, static: Measured) -> Iterator[Measured]:
        """Yield the laxest cascades before a static point with which the claims are likely to
        hold."""
        if self.small is None:
            return
        answers, found = self.trace(static, "select"), dict[float, Measured]()
        for margin in self.small.margins():
            made = self.behind(self.small, static.point, margin, answers)
            found |= {room: made for room in ROOMS if made.chance >= room}
        yield from {c.point.margin: c for c in found.values()}.values()

    def behind(self, first: FirstModel, second: Point, margin: float, answers: Trace) -> Measured:
        """Judge two models in a row.

        Args:
            answers: of the second to the texts for choosing.
        """
        point = replace(second, before=first.point, margin=margin)
        escalation = first.escalation(point, self.forms.num_layers)
        goes_on_N = escalation.goes_on(first.trace)
        trace = escalation.joined(first.trace, answers.take(np.flatnonzero(goes_on_N)))
        return self.replayed(point, trace, 1 - float(goes_on_N.mean()))

    def higher(self, low: Measured, statics: Sequence[Measured]) -> Measured | None:
        """The fastest form of a higher precision that is likely to hold by itself."""
        finer = DTYPES[: DTYPES.index(low.point.dtype)]
        ready = [c for c in statics if c.ms and c.point.dtype in finer]
        for candidate in sorted(ready, key=self.speed):
            if not candidate.counts:
                self.judge(candidate)
            if candidate.chance >= min(ROOMS):
                return candidate
        return None

    def adaptive(self, statics: Sequence[Measured], exits: bool) -> list[Measured]:
        """Return points with exits, with answers again in a higher precision, or with both, which
        are expected to be about the fastest at a chance of holding.

        Graphs are made for each of them. Therefore the cost of an open exit is measured first, at
        one point of each form that may be chosen, and exits are chosen anew with it.
        """
        low = self.for_fallback(statics)
        without = {c.point.key: self.expected(c, statics, exits=False) for c in low}
        ends = [
            points[:: max(1, len(points) - 1)] for points in fast_enough(without, AS_FAST).values()
        ]
        made = [c for points in ends for c in points]  # the safest and the laxest
        if not exits:
            return made
        forms = {c.point.key: c for c in (*self.for_exits(statics), *low)}
        found = {key: self.expected(form, statics) for key, form in forms.items()}
        if self.bench.guess is None:
            found = {
                key: self.expected(forms[key], statics)
                for key, points in fast_enough(found, NEAR).items()
                if self.measures_guess(forms[key], points[0].point)
            }
        leaving = [c for points in fast_enough(found, AS_FAST).values() for c in points]
        return [*(c for c in leaving if c.point.has_exits), *made]

    def expected(
        self, form: Measured, statics: Sequence[Measured], exits: bool = True
    ) -> dict[float, Measured]:
        """Return for each chance of holding the point of least expected time, its cost: a form with
        exits or without, of whose answers the least sure ones are given again in a higher
        precision. Open exits, their levels and the margin are thus chosen together.

        A point without both is none, nor is one that is no faster than a form that surely holds.
        """
        high = self.higher(form, statics) if self.same.labels else None  # a score has no margin
        answers = None if high is None else self.trace(high, "select")
        found = dict[float, Measured]()
        again_ms = 0.0
        if high is not None and answers is not None:
            again_ms = self.cold(form, high, answers) * self.speed(high)
        for first, margin in self.by_time(form, again_ms, statics, exits):
            if answers is None or high is None or not margin:
                made = self.replayed(first.point, first.trace)
            else:
                made = self.behind(first, high.point, margin, answers)
            made.cost = first.ms
            found = {room: made for room in ROOMS if made.chance >= room} | found
            if len(found) == len(ROOMS):
                break
        return {room: made for room, made in found.items() if not made.point.is_static}

    def by_time(
        self, form: Measured, again_ms: float, statics: Sequence[Measured], exits: bool
    ) -> Iterator[tuple[FirstModel, float]]:
        """Yield what answers first, with the expected time of all answers, and the margin below
        which a text is answered again in `again_ms` (0: none is), by that time, as far as it is
        less than of the fastest form that is nearly sure to hold."""
        least = min((self.speed(c) for c in statics if c.chance >= SAFE), default=float("inf"))
        tried = [
            (replace(first, ms=first.ms + share * again_ms), margin)
            for first in self.firsts(form, exits)
            for share, margin in (first.answering_again() if again_ms else [(0.0, 0.0)])
        ]
        yield from sorted((one for one in tried if one[0].ms < least), key=lambda one: one[0].ms)

    def firsts(self, form: Measured, exits: bool) -> Iterator[FirstModel]:
        """Yield a form without exits, and at each point of its dial.

        The last layer's answers are those of its engine, and those of exits are our kernels'.
        """
        static = self.alone(form)
        whole = static.trace
        yield static
        for each in self.leaving(form.point) if exits else ():
            deep_N1 = (each.trace.depth_B >= self.forms.num_layers)[:, None]
            logits_NC = np.where(deep_N1, whole.logits_BC, each.trace.logits_BC)
            ms = static.ms * each.layers(self.guess(form.point)) / self.forms.num_layers
            point, trace = form.point.at(exit=each.exit), Trace(logits_NC, each.trace.depth_B)
            yield replace(static, point=point, trace=trace, ms=ms)

    def alone(self, form: Measured) -> FirstModel:
        """A form without exits, as what answers first."""
        trace = self.trace(form, "select")
        return FirstModel(self.forms, form.point, self.splits, trace, self.speed(form))

    def cold(self, form: Measured, high: Measured, answers: Trace) -> float:
        """How many times as long `high` takes for a text where it answers only now and then. That
        is measured behind int8; bf16 changes so few answers that hardly any are given again.

        Args:
            form: answers first.
            answers: of `high` to the texts for choosing.
        """
        key = form.point.key, high.point.key
        is_measured = self.bench.guess is None and form.point.dtype == DTYPES[-1]
        if is_measured and key not in self.colds:
            self.colds[key] = self.measured_cold(form, high, answers)
        return self.colds.get(key, COLD)

    def measured_cold(self, form: Measured, high: Measured, answers: Trace) -> float:
        """Let `high` answer a tenth of the texts again, and take times beside both alone."""
        first = self.alone(form)
        _, margin = min(first.answering_again(), key=lambda each: abs(each[0] - OFTEN))
        again = self.behind(first, high.point, margin, answers)
        alone = [Measured(form.point), Measured(high.point)]
        self.time("again", [*alone, again], SCREENING)
        if again.share == 1 or not all(each.ms for each in (*alone, again)):
            return COLD
        ms, high_ms, both_ms = map(self.speed, (*alone, again))
        return max(1.0, (both_ms - ms) / (1 - again.share) / high_ms)

    def measures_guess(self, form: Measured, point: Point) -> bool:
        """Find the cost of an open exit in a form, from the time of one of its points beside that
        of all layers. Returns whether the form runs with exits, as far as the point has some."""
        first = point.before or point
        chosen = [x for x in self.leaving(form.point) if x.exit == first.methods["exit"]]
        if not chosen:
            return True
        whole, early = Measured(form.point), Measured(first, trace=chosen[0].trace)
        self.time("guess", [whole, early], SCREENING)
        if early.ms:
            layers = self.speed(early) / self.speed(whole) * self.forms.num_layers
            guess = (layers - chosen[0].depth) / chosen[0].guesses
            self.guesses[form.point.key] = max(LEAST_HEAD, guess)
        return bool(early.ms)

    def time(
        self, name: str, candidates: Sequence[Measured], most: Mapping[str, int] | None = None
    ) -> None:
        """Time candidates side by side on *select*, once; those that cannot run are told apart.

        Only one text at a time or only batches are timed, as they are wanted.

        All texts run once before, because times are to be those of a service that has run for a
        while. An engine opens the model that answers again at the first unsure text, which took
        0.9 s in OpenVINO with 12 layers, and makes kernels at the first text of each length.
        """
        settings = self.times | {
            key: min(self.times[key], limit) for key, limit in (most or {}).items()
        }
        settings["warmup"] = settings["examples"]
        size, taken = str(self.batch), "latency_RI" if self.batch == 1 else "batches_RI"
        how: dict[str, Any] = {"alone": self.batch == 1, "orders": () if self.batch == 1 else ("",)}

        def measured() -> dict[str, Any]:
            ready, faults = {}, {}
            for candidate in candidates:
                try:
                    split, made = self.split(candidate, "select"), self.deployed(candidate)
                    made.answers(split.batch(np.arange(1)))  # an engine opens a graph as it runs
                    check_alone(made, split, self.same)
                    call = made.timed_on(split)
                    if (trace := candidate.trace) is not None:  # texts of the same mean depth
                        call.cost_B = trace.depth_B + 1.0
                    ready[candidate.point.key] = call
                except (ConfigError, ValueError) as error:
                    ours = candidate.point.engine in ("torch", "transformers")
                    if ours and not isinstance(error, ConfigError):
                        raise  # a fault of ours, and none of an engine
                    faults[candidate.point.key] = str(error).splitlines()[0]
            *_, found = self.bench.timed(ready, **settings, **how, threads=self.threads)
            all_RI = {key: {size: fields[taken].tolist()} for key, fields in found.items()}
            ms = {key: {size: ms_of(fields, self.batch)} for key, fields in found.items()}
            ratios = speed_ups(candidates, all_RI)
            return {"ms": ms, "speed_up": ratios, "faults": faults, "taken": all_RI}

        named = [*(candidate.point.key for candidate in candidates), str(sorted(settings.items()))]
        named.append(size)
        same = crc32("\n".join(named).encode())
        times = self.work.json(f"times-{name}-{same:08x}", measured)
        for candidate in candidates:
            candidate.ms = times["ms"].get(candidate.point.key, {})
            candidate.speed_up = times.get("speed_up", {}).get(candidate.point.key, {})
            candidate.fault = times["faults"].get(candidate.point.key, "")

    def front(self, candidates: Sequence[Measured]) -> list[Measured]:
        """From the safest to ever faster ones: each is faster than all that are safer, and by
        enough to be worth a test, after whose failure no other follows."""
        best: list[Measured] = []
        for candidate in sorted(candidates, key=lambda c: (-c.chance, self.speed(c))):
            sound = candidate.ms and candidate.chance >= min(ROOMS)
            if sound and (not best or WORTH * self.speed(candidate) < self.speed(best[-1])):
                best.append(candidate)
        return best

    def sequence(self, candidates: Sequence[Measured]) -> list[Measured]:
        """The fastest static candidate that is nearly sure to hold, then the front beyond it.

        With few texts none is: static forms come first then, that of fp32 before the fastest, since
        *select* cannot tell them from exits that change more.
        """
        front = [c for c in self.front(candidates) if c.point.engine != "transformers"]
        originals = [c for c in candidates if c.point.engine == "transformers"]
        slowest = min(map(self.speed, originals), default=float("inf"))
        statics = [c for c in candidates if c.point.is_static and self.speed(c) < slowest]
        if sure := [c for c in statics if c.chance >= SAFE]:
            begin = min(sure, key=self.speed)
            return [begin, *(c for c in front if self.speed(c) < self.speed(begin))]
        statics = [c for c in statics if c.chance >= min(ROOMS)]
        exact = [c for c in statics if c.point.dtype == "fp32"]
        first = [min(some, key=self.speed) for some in (exact, statics) if some]
        found: list[Measured] = []
        for candidate in [*first, *front]:
            if not found or self.speed(candidate) < self.speed(found[-1]):
                found.append(candidate)
        return found

    def certify(self, candidates: Sequence[Measured]) -> list[Measured]:
        """Test along the sequence until one fails; returns those that hold."""
        return list(holding(self.sequence(candidates), self.test, self.claims[0].error))

    def test(self, candidate: Measured) -> float:
        """Count a candidate's changes on *certify*; returns the largest p-value of its claims."""
        original_NC = self.original["certify"]
        candidate.trace = self.trace(candidate, "certify")
        changed_N = self.same.changed(original_NC, candidate.trace.logits_BC)
        candidate.tested = tallied(self.claims, changed_N, self.same.groups(original_NC))
        return max(tally.p_value for tally in candidate.tested)


def check_alone(made: Deployed, split: Any, same: SameAnswer) -> None:
    """Check that texts get the same answers alone as in a batch, by which candidates are judged.
    A single text takes another graph, in which OpenVINO's bf16 once gave depths of no model.

    Raises:
        ConfigError: where more than a few do not; rounding may change one near a threshold.
    """
    rows = spread_rows(len(split), ALONE)
    wanted = made.answers(split.batch(rows))
    found = [made.answers(split.batch(rows[i : i + 1])) for i in range(len(rows))]
    changed_N = same.changed(wanted.logits_BC, np.concatenate([x.logits_BC for x in found]))
    changed_N |= wanted.depth_B != np.concatenate([x.depth_B for x in found])
    if changed_N.sum() > ROUNDED:
        raise ConfigError(
            f"answers {changed_N.sum()} of {len(rows)} texts otherwise alone than in a batch"
        )


def ms_of(fields: Mapping[str, Any], batch: int) -> float:
    """Milliseconds per text, of what `time_all` says."""
    return float(fields["latency_ms"] if batch == 1 else 1000 / fields["throughput"])


def speed_ups(
    candidates: Sequence[Measured], taken: Mapping[str, Mapping[str, list[list[float]]]]
) -> dict[str, dict[str, list[float]]]:
    """Compare the times of candidates with the original's on the same texts.

    Args:
        taken: milliseconds (R x I) by key of a candidate and number of texts at once.
    """
    keys = (
        candidate.point.key for candidate in candidates if candidate.point.engine == "transformers"
    )
    first = taken.get(next(keys, ""))
    if first is None:
        return {}
    return {
        key: {
            size: [*speed_up(np.array(first[size]), np.array(all_RI))]
            for size, all_RI in times.items()
        }
        for key, times in taken.items()
    }


def fast_enough(
    found: Mapping[str, Mapping[float, Measured]], times: float
) -> dict[str, list[Measured]]:
    """Keep of each form the points that are expected to take at most so many times the fastest one
    with the same chance of holding, each once."""
    pairs = [pair for points in found.values() for pair in points.items()]
    least = {room: min(made.cost for other, made in pairs if other == room) for room, _ in pairs}
    kept = {
        key: {c.point.key: c for room, c in points.items() if c.cost <= times * least[room]}
        for key, points in found.items()
    }
    return {key: [*points.values()] for key, points in kept.items() if points}


def strict_tau(rule: ExitRule) -> float:
    """The value of a rule's knob at which nobody leaves."""
    assert rule.knob is not None
    return float(rule.knob.strict)


def everybody_at_first(rule: ExitRule) -> list[float]:
    """The point of a rule's knob, one for each exit, at which all leave at the first."""
    strict = strict_tau(rule)
    lax = 1e-9 if strict == 1 else 1e9  # below any probability; above any error
    return [lax, *[strict] * (len(rule.layers) - 1)]
