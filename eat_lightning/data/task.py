"""A task: its columns, its labels, and its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from eat_lightning.answer_kind import (
    MULTI,
    PROBLEM_TYPES,
    SCORE,
    SINGLE,
    AnswerKind,
    MultiLabel,
    Score,
    SingleLabel,
    score_faults,
)
from eat_lightning.validation import raise_faults

KINDS: dict[str, type[AnswerKind]] = {SINGLE: SingleLabel, MULTI: MultiLabel, SCORE: Score}
# Of the range of a score, within which two are the same where nothing else is set.
NEAR = 0.05


@dataclass
class Task:
    """A task.

    `labels` are names in the order of their numbers; an empty list makes it a regression with
    labels in `label_range`. The first of `metrics` is the main one.

    `problem_type` is Hugging Face's name for the kind of answers. It is required for several labels
    (`multi_label_classification`), where the column `labels` holds a list for each example; other
    tasks have a column `label`. Two scores count as equal within `tolerance` (None: a twentieth of
    `label_range`) or, with `cuts`, if they are on the same side of each.

    `validation` maps each validation split to its name on the hub. In a folder it is the file's
    name, and only `validation` is required. `hub_config` is None for tasks that are not on the hub.
    `groups` defines which training examples must stay on one side of the calibration split:
    `root_phrases` (phrases of one sentence), `question_graph` (pairs linked by a shared text),
    `column:<name>` (equal texts in that column), `thread:<name>` (equal subject lines in that
    column, ignoring "Re:" and the like), `random` (identical examples only).
    """

    name: str
    columns: list[str]
    labels: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=lambda: ["accuracy"])
    validation: dict[str, str] = field(default_factory=lambda: {"validation": "validation"})
    hub: str = "nyu-mll/glue"
    hub_config: str | None = None
    groups: str = "random"
    max_length: int = 256
    learning_rate: float = 2e-5
    label_range: list[float] = field(default_factory=lambda: [0.0, 5.0])
    problem_type: str | None = None
    tolerance: float | None = None
    cuts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        raise_faults(self.faults())

    def faults(self) -> list[str]:
        wanted = self.problem_type or (SINGLE if self.labels else SCORE)
        if wanted not in KINDS:
            return [f"task.problem_type must be among {PROBLEM_TYPES}, got {wanted!r}"]
        known = KINDS[wanted].metric_names
        unknown = [metric for metric in self.metrics if metric not in known]
        faults = [f"task.metrics must be among {known}, got {metric!r}" for metric in unknown]
        faults += self.kind_faults()
        if not self.metrics:
            faults.append("task.metrics must name at least one metric, got []")
        if len(self.columns) not in (1, 2):
            faults.append(f"task.columns must name 1 or 2 columns, got {self.columns}")
        if "validation" not in self.validation:
            faults.append(f"task.validation must have the key validation, got {[*self.validation]}")
        if self.max_length < 8:
            faults.append(f"task.max_length must be at least 8, got {self.max_length}")
        kinds = ["random", "root_phrases", "question_graph"]
        kinds += [f"{kind}:{column}" for kind in ("column", "thread") for column in self.columns]
        wanted = {"root_phrases": 1, "question_graph": 2}.get(self.groups, len(self.columns))
        if self.groups not in kinds:
            faults.append(f"task.groups must be one of {', '.join(kinds)}, got {self.groups!r}")
        elif wanted != len(self.columns):
            faults.append(f"task.groups={self.groups} needs {wanted} columns, got {self.columns}")
        return faults

    def kind_faults(self) -> list[str]:
        """List errors in the settings that determine the kind of answers."""
        wanted, faults = self.problem_type, []
        if wanted is not None and (wanted == SCORE) == bool(self.labels):
            has = "no names" if wanted == SCORE else "names"
            faults.append(f"task.labels must have {has} for {wanted}, got {self.labels}")
        least = 1 if wanted == MULTI else 2
        if self.labels and (len(self.labels) < least or len({*self.labels}) < len(self.labels)):
            how_many = "one or more" if least == 1 else "two or more"
            faults.append(f"task.labels must be {how_many} different names, got {self.labels}")
        given = {"tolerance": self.tolerance, "cuts": self.cuts or None}
        if self.labels:
            there = {key: value for key, value in given.items() if value is not None}
            return faults + [f"task.{k} is for a score, got {v}" for k, v in there.items()]
        return faults + [f"task.{fault}" for fault in score_faults(self.tolerance, self.cuts)]

    @property
    def kind(self) -> AnswerKind:
        """The kind of its answers."""
        if not self.labels:
            low, high = self.label_range
            near = NEAR * (high - low) if self.tolerance is None else self.tolerance
            return Score(1, near, tuple(map(float, self.cuts)))
        return KINDS[self.problem_type or SINGLE](len(self.labels))

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def label_column(self) -> str:
        return "labels" if self.problem_type == MULTI else "label"

    @property
    def num_labels(self) -> int:
        return len(self.labels) or 1
