"""A task: where its text and labels stand, what they are called, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from eat_lightning.validation import raise_faults

METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman")


@dataclass
class Task:
    """`labels` are names in the order of their numbers; an empty list makes it a regression, whose
    labels lie in `label_range`. The first of `metrics` is the main one.

    `validation` gives each validation split its name on the hub; in a folder it is the file's name,
    and only the one called `validation` must be there. `hub_config` is None off the hub.
    `groups` says which training examples belong together and must not stand on both sides of the
    calibration cut: `root_phrases` (phrases of one sentence), `question_graph` (pairs linked by a
    shared text), `column:<name>` (an equal text in that column), `thread:<name>` (an equal subject
    line in that column, but for "Re:" and the like), `random` (equal examples only).
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

    def __post_init__(self) -> None:
        raise_faults(self.faults())

    def faults(self) -> list[str]:
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        faults = [f"task.metrics must be among {METRICS}, got {metric!r}" for metric in unknown]
        if not self.metrics:
            faults.append("task.metrics must name at least one metric, got []")
        if len(self.columns) not in (1, 2):
            faults.append(f"task.columns must name 1 or 2 columns, got {self.columns}")
        if self.labels and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            faults.append(f"task.labels must be two or more different names, got {self.labels}")
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

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        return len(self.labels) or 1
