"""A setting and its baselines: the same weights static, a separately trained static model, smaller
students, Hugging Face's model, and fixed depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eat_lightning.evaluation.gain import METRICS, Judged, mean_gains
from eat_lightning.model.trace import Trace
from eat_lightning.report import columns as col
from eat_lightning.report.difference import Difference, difference, lacking_of
from eat_lightning.report.intervals import Interval
from eat_lightning.report.speed import ENDS
from eat_lightning.report.study import KeptRow, Mark, Study, is_static
from eat_lightning.runs.row import FIXED, THEIRS, Row

TRAINED = "against the separately trained static model of that backbone"
GAIN = f"points over the same weights at fixed depth and equal FLOPs; {col.PAIRED}"
MIX = f"points over the best random mix of two depths on these examples; {col.PAIRED}"
NO_GAIN = (  # such as where a fit left other tokens than the fixed depths beside it have
    "the gain over seeds cannot be computed from the examples: measure again with "
    "fit_reduction=false"
)
CLOSE = 1e-4  # of the rows' own gains, which are of the same answers
SAME_TIMING = ("dtype", "device", "threads", "machine")


@dataclass
class Entry:
    """A setting and the settings that it is compared with; None where one is missing or is the
    same.
    """

    study: Study
    point: Mark

    @property
    def model(self) -> str:
        return self.study.name_of(self.point.row)

    @property
    def name(self) -> str:
        return f"{self.model} {self.point.setting}"

    @cached_property
    def own(self) -> Mark | None:
        """The same weights without reduction and exits."""
        return self._other(own_static_of(self.study, self.point))

    @cached_property
    def trained(self) -> Mark | None:
        """The static model of the same backbone and task that was trained separately, or whose
        weights initialised the training. Of several, such as with and without a teacher, the most
        accurate.
        """
        found = trained_statics(self.study, self.point)
        return self._other(best([p for p in found if of_same_body(p.row, self.point.row)]))

    @cached_property
    def smaller(self) -> list[Mark]:
        """Separately trained static models with fewer FLOPs than own static: other backbones, or
        fewer layers of this one. These are the baselines to beat.
        """
        point = self.point
        whole = (point.mean("flops") or 0.0) / (point.mean("flops_ratio") or 1.0)
        found = trained_statics(self.study, point)
        fewer = [p for p in found if (p.mean("flops") or 0.0) < whole]
        return [p for p in fewer if not of_same_body(p.row, point.row)]

    @property
    def student(self) -> Mark | None:
        """The most accurate of `smaller`."""
        return best(self.smaller)

    @cached_property
    def padded(self) -> Mark | None:
        """The same weights in Hugging Face's padded model, seed by seed."""
        found = twins(
            self.study, self.point, lambda r, mine: r.baseline == THEIRS and same_timing(r, mine)
        )
        return self._other(Mark([rows[0] for rows in found]) if all(found) else None)

    @cached_property
    def to_own(self) -> Difference | None:
        return difference(self.point, self.own)

    @cached_property
    def to_trained(self) -> Difference | None:
        return difference(self.point, self.trained)

    @cached_property
    def to_student(self) -> Difference | None:
        return difference(self.point, self.student)

    @property
    def gain(self) -> Difference | None:
        """Gain over fixed depth at equal FLOPs, in points: a mix of the two neighbouring depths."""
        if found := in_points(self.gains.get("adaptivity_gain")):
            return found
        values = self.point.values("adaptivity_gain")
        if len(values) != len(self.point.members):
            return None
        lacking = lacking_of(self.point) or NO_GAIN
        return Difference(100 * float(np.mean(values)), None, lacking=lacking)

    @property
    def mix_gain(self) -> Difference | None:
        """Gain over the best random mix of any two depths of at most equal cost, in points."""
        return in_points(self.gains.get("mix_gain"))

    @cached_property
    def gains(self) -> dict[str, Interval]:
        return gains_of(self.study, self.point) if self.point.values("adaptivity_gain") else {}

    @property
    def adaptive(self) -> bool:
        return not self.point.row.baseline and not self.point.is_static

    @property
    def fixed(self) -> bool:
        return self.point.row.baseline == FIXED

    def _other(self, found: Mark | None) -> Mark | None:
        same = found is not None and found.members == self.point.members
        return None if same else found


def in_points(share: Interval | None) -> Difference | None:
    return share and Difference(100 * share.value, share.times(100))


def gains_of(study: Study, point: Mark) -> dict[str, Interval]:
    """Return the gains as fractions, by the field names of a row.

    For one seed they are read from its row; for several they are means with the intervals of
    `measure.gain.mean_gains`. None where rows and records do not provide them. Records also provide
    `mix_gain` for older rows.
    """
    rows = [m.row for m in point.members]
    said = gains_in(vars(rows[0])) if len(rows) == 1 else {}
    if len(said) == 2:
        return said
    values = point.values("adaptivity_gain")
    judged = [each for m in point.members if (each := judged_of(study, m)) is not None]
    several_sets = len({len(each.labels_B) for each in judged}) != 1
    if len(values) == len(judged) == len(rows) and not several_sets:
        (fields,) = mean_gains(judged)
        # Kept records have no labels, so that only accuracy can be said anew of them.
        if abs(fields["adaptivity_gain"] - np.mean(values)) < CLOSE:
            return gains_in(fields) | said
    return said


def gains_in(fields: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the gains of a row with their intervals."""
    ends = {
        name: [fields[f"{name}{end}"] for end in ENDS] for name in ("adaptivity_gain", "mix_gain")
    }
    return {name: Interval(*three) for name, three in ends.items() if None not in three}


def judged_of(study: Study, measured: KeptRow) -> Judged | None:
    """Return a row's exit rule and the fixed depths of the same recorded pass."""
    if measured.outcome is None or measured.row.metric not in METRICS:
        return None
    fixed = [with_flops(m) for m in fixed_beside(study, measured) if m.outcome is not None]
    if not fixed:
        return None
    record = measured.record
    about = record.labels, measured.row.metric, record.cluster_B, record.num_classes
    return Judged([with_flops(measured)], fixed, *about)


def with_flops(measured: KeptRow) -> Trace:
    """Estimate FLOPs per example by distributing a row's mean over its examples, in proportion to
    their tokens in the layers that they ran. Stored rows lack the widths for an exact count. For
    one seed the resulting interval differs from that of exact counts by 0.001 points (SST-2, six
    layers).
    """
    tokens_B = measured.known.tokens_LB.sum(0)
    alike_B = np.ones(len(tokens_B))  # where nobody runs a layer, only heads cost
    share_B = tokens_B / tokens_B.mean() if tokens_B.any() else alike_B
    return replace(measured.known, flops_B=measured.row.flops * share_B)


def best(points: Sequence[Mark]) -> Mark | None:
    """Return the most accurate setting."""
    return max(points, key=lambda p: p.mean("score") or 0.0, default=None)


def of_same_body(static: Row, row: Row) -> bool:
    return row.encoder in (static.encoder, static.run) and static.num_layers == row.num_layers


def trained_statics(study: Study, point: Mark) -> list[Mark]:
    """Return all static models of the task on the same examples, of any backbone, restricted to the
    point's seeds where all of these exist.
    """
    row = point.row
    same = ["task", "split", "engine", *SAME_TIMING] + ["form"] * (row.baseline != THEIRS)
    points = study.points(baseline="", **{name: getattr(row, name) for name in same})
    static = [p for p in points if p.is_static and p.row.num_examples == row.num_examples]
    return [of_seeds(p, point.seeds) for p in static if not has_early_heads(study, p)]


def of_seeds(point: Mark, seeds: Sequence[int]) -> Mark:
    """Restrict a setting to these seeds, because each seed has its own static model to start from.
    If a seed is missing, the setting is returned unchanged.
    """
    members = [m for m in point.members if m.row.seed in seeds]
    return Mark(members) if {m.row.seed for m in members} == {*seeds} else point


def same_timing(one: Row, other: Row) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in SAME_TIMING)


def own_static_of(study: Study, point: Mark) -> Mark | None:
    """Return the same weights without reduction and exits, seed by seed, or the point itself.

    Of several candidates, one from the same session is preferred, then one with the same layout.
    """
    if point.is_static:
        return point

    def matches(other: Row, mine: Row) -> bool:
        same = (other.dtype, other.threads) == (mine.dtype, mine.threads)
        return same and is_static(other) and other.engine == mine.engine

    found = twins(study, point, matches)
    if not all(found):
        return None
    rows = zip(found, point.members, strict=True)
    return Mark([nearest(same, m.row) for same, m in rows])


def nearest(found: Sequence[KeptRow], row: Row) -> KeptRow:
    """Return the row timed under the most similar conditions: same session, then same layout."""
    return max(found, key=lambda m: (m.row.session == row.session, m.row.form == row.form))


def has_early_heads(study: Study, point: Mark) -> bool:
    """True for models trained with exits, which have a head before the last layer."""
    runs, last = {m.run for m in point.members}, point.row.num_layers
    rows = [m.row for m in study.measured if m.run in runs]
    return any(int(k) < last for row in rows for k in (*row.ece_after, *row.exit_shares))


def twins(study: Study, point: Mark, matches: Callable[[Row, Row], bool]) -> list[list[KeptRow]]:
    """Return for each seed of a point the rows of the same run that match its row."""
    found = []
    for mine in point.members:
        same = [m for m in study.measured if m.run == mine.run and m.row.split == mine.row.split]
        found.append([m for m in same if matches(m.row, mine.row)])
    return found


def fixed_beside(study: Study, measured: KeptRow) -> list[KeptRow]:
    """Return the fixed depths of the same recorded pass."""
    pass_of = measured.run, measured.row.examples
    fixed = [m for m in study.measured if m.row.baseline == FIXED]
    return [m for m in fixed if (m.run, m.row.examples) == pass_of]
