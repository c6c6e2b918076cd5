"""Kinds of answers: one label, several labels, a score. One object of each kind holds all that
depends on it.

It says when two answers are the same, what heads without labels learn, which loss labels give, by
which metrics answers are judged, and how one is printed. Its names are Hugging Face's
`problem_type`. An encoder has it as `encoder.kind`, a task as `task.kind`.

By numpy alone: losses import torch where they are called. An export puts a copy of this
file beside its graphs, so nothing of the package is imported here.

Shapes: B examples, C columns of logits; answers and comparisons take any axes before B.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

SINGLE, MULTI, SCORE = "single_label_classification", "multi_label_classification", "regression"
PROBLEM_TYPES = (SINGLE, MULTI, SCORE)
TITLES = {SINGLE: "classes", MULTI: "sets of labels", SCORE: "scores"}
Metric = Literal[
    "accuracy", "f1", "matthews", "f1_micro", "f1_macro", "exact_match", "pearson", "spearman"
]
UNLABELLED = -100  # torch's ignore_index, in place of a class that is not known


@dataclass(frozen=True)
class AnswerKind(ABC):
    """Tell how logits are read. num_labels: outputs of the last head."""

    num_labels: int

    problem_type: ClassVar[str]
    metric_names: ClassVar[tuple[str, ...]]  # those of a task, in the order of their use
    columns: ClassVar[Mapping[str, str]]  # what `printed` gives: name to type
    comparable: ClassVar[bool] = True  # it is known which answers are the same
    label_dtype: ClassVar[type] = np.int64
    unlabelled: ClassVar[float] = UNLABELLED

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of one example's label."""
        return ()

    @property
    def width(self) -> int:
        """Columns of a guess. The last head may give fewer, see `padded`."""
        return self.num_labels

    @abstractmethod
    def same(self, logits_BC: Any, others_BC: Any) -> Any:
        """Mark the examples (B) whose answer is the same in both, of numpy or of torch. No label is
        read, so that agreement can be counted on texts without labels."""

    def numbered(self, logits_BC: np.ndarray, full_BC: np.ndarray) -> np.ndarray:
        """Number the answers, so that an answer has full depth's number where it is the same: 0
        where it is and 1 where not; classes have their numbers."""
        return 1 - self.same(logits_BC, full_BC).astype(np.int64)

    @abstractmethod
    def right(self, logits_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
        """Return 1 where the answer is the label, 0 where not, NaN where that is not known."""

    @abstractmethod
    def probabilities(self, logits_BC: np.ndarray) -> np.ndarray:
        """Return the probability of each label; a score as it is."""

    @abstractmethod
    def printed(self, logits_BC: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Return each answer as a person reads it, with the keys of `columns`."""

    @abstractmethod
    def margin(self, logits_BC: np.ndarray) -> np.ndarray:
        """Return the distance of each example (B) to another answer; infinite where there is
        none."""

    @abstractmethod
    def loss(self, logits_BC: Any, labels_B: Any, full_BC: Any = None) -> Any:
        """Return a head's loss to labels, summed over the examples, in fp32, as torch tensors.
        full_BC: the last head's guess, which a head that predicts its error reads too."""

    @abstractmethod
    def divergence(self, student_BC: Any, teacher_BC: Any, temperature: float) -> Any:
        """Return the distance from a teacher's answers, summed over the examples, in fp32. It is
        what heads without labels learn by, with full depth as the teacher."""

    @abstractmethod
    def predictions(self, logits_BC: Any) -> Any:
        """Return a torch tensor's answers as labels are written, for metrics and as targets."""

    def as_classes(self, logits_BC: Any, labels_B: Any) -> tuple[Any, Any] | None:
        """Return the same decisions as logits over classes and their numbers, by which a
        temperature is fitted; None where there is no probability."""
        return logits_BC, labels_B

    def with_error(self) -> AnswerKind:
        """Return the kind whose early heads predict how far off they are, where there is one."""
        return self

    def padded(self, logits_BC: Any) -> Any:
        """Give the last head's outputs the width of the others."""
        return logits_BC

    def spec(self) -> dict[str, Any]:
        """Return what a config.json says of it beside the names of its labels; nothing for classes,
        which are what is usual."""
        return {"problem_type": self.problem_type}


@dataclass(frozen=True)
class SingleLabel(AnswerKind):
    """One class of several: that of the largest logit."""

    problem_type = SINGLE
    metric_names = ("accuracy", "f1", "matthews")
    columns: ClassVar[Mapping[str, str]] = {"label": "str", "confidence": "float"}

    def same(self, logits_BC: Any, others_BC: Any) -> Any:
        return logits_BC.argmax(-1) == others_BC.argmax(-1)

    def numbered(self, logits_BC: np.ndarray, full_BC: np.ndarray) -> np.ndarray:
        return logits_BC.argmax(-1)

    def right(self, logits_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
        return np.where(labels_B < 0, np.nan, logits_BC.argmax(-1) == labels_B)

    def probabilities(self, logits_BC: np.ndarray) -> np.ndarray:
        odds_BC = np.exp(logits_BC - logits_BC.max(-1, keepdims=True))
        return odds_BC / odds_BC.sum(-1, keepdims=True)

    def printed(self, logits_BC: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        best_B = logits_BC.argmax(-1).tolist()
        confidence_B = self.probabilities(logits_BC).max(-1).tolist()
        pairs = zip(best_B, confidence_B, strict=True)
        return [{"label": labels[best], "confidence": round(sure, 6)} for best, sure in pairs]

    def margin(self, logits_BC: np.ndarray) -> np.ndarray:
        """The lead of the largest probability over the second."""
        best_B2 = np.sort(self.probabilities(logits_BC.astype(np.float32)), -1)[:, -2:]
        return best_B2[:, 1] - best_B2[:, 0]

    def loss(self, logits_BC: Any, labels_B: Any, full_BC: Any = None) -> Any:
        """Cross-entropy."""
        from torch.nn import functional as F

        return F.cross_entropy(logits_BC.float(), labels_B, reduction="sum")

    def divergence(self, student_BC: Any, teacher_BC: Any, temperature: float) -> Any:
        """T^2 x KL(P_teacher^(T) || P_student^(T)) (EAT eq. 2)."""
        from torch.nn import functional as F

        log_p = F.log_softmax(student_BC.float() / temperature, dim=-1)
        log_q = F.log_softmax(teacher_BC.float() / temperature, dim=-1)
        return temperature**2 * F.kl_div(log_p, log_q, reduction="sum", log_target=True)

    def predictions(self, logits_BC: Any) -> Any:
        return logits_BC.argmax(-1)

    def spec(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class MultiLabel(AnswerKind):
    """Any number of labels: those whose probability, the sigmoid of their logit, is above 0.5.
    Labels are 0 or 1 in a row for each example (B x C)."""

    problem_type = MULTI
    metric_names = ("f1_micro", "f1_macro", "exact_match")
    columns: ClassVar[Mapping[str, str]] = {
        **{"labels": "list of str", "probabilities": "list of float"},
        "confidence": "float",
    }

    @property
    def label_shape(self) -> tuple[int, ...]:
        return (self.num_labels,)

    def same(self, logits_BC: Any, others_BC: Any) -> Any:
        """Two sets are the same where no label stands in one alone."""
        return ((logits_BC > 0) == (others_BC > 0)).all(-1)

    def right(self, logits_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
        """Whole sets count."""
        whole_B = ((logits_BC > 0) == (labels_B > 0)).all(-1)
        return np.where((labels_B < 0).any(-1), np.nan, whole_B)

    def probabilities(self, logits_BC: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.tanh(0.5 * logits_BC))  # the sigmoid, without overflow

    def printed(self, logits_BC: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Labels stand in the task's order. confidence: of the label that is least sure, whether
        it is in the set or not."""
        found = []
        for p_C in self.probabilities(logits_BC.astype(np.float64)):
            there, least = np.flatnonzero(p_C > 0.5).tolist(), float(np.maximum(p_C, 1 - p_C).min())
            shares = p_C[there].round(6).tolist()
            answer = {"labels": [labels[i] for i in there], "probabilities": shares}
            found.append(answer | {"confidence": round(least, 6)})
        return found

    def margin(self, logits_BC: np.ndarray) -> np.ndarray:
        """The distance from 0.5 of the label that is nearest to it."""
        return np.abs(self.probabilities(logits_BC.astype(np.float32)) - 0.5).min(-1)

    def loss(self, logits_BC: Any, labels_B: Any, full_BC: Any = None) -> Any:
        """Binary cross-entropy, the mean over the labels."""
        return self._cross_entropy(logits_BC, labels_B.float())

    def divergence(self, student_BC: Any, teacher_BC: Any, temperature: float) -> Any:
        """T^2 x KL(P_teacher^(T) || P_student^(T)) of each label's two probabilities, the mean over
        the labels."""
        student_BC, teacher_BC = student_BC.float() / temperature, teacher_BC.float() / temperature
        p_BC = teacher_BC.sigmoid()
        entropy = self._cross_entropy(teacher_BC, p_BC)
        return temperature**2 * (self._cross_entropy(student_BC, p_BC) - entropy)

    def _cross_entropy(self, logits_BC: Any, wanted_BC: Any) -> Any:
        from torch.nn import functional as F

        total = F.binary_cross_entropy_with_logits(logits_BC.float(), wanted_BC, reduction="sum")
        return total / self.num_labels

    def predictions(self, logits_BC: Any) -> Any:
        return (logits_BC > 0).long()

    def as_classes(self, logits_BC: Any, labels_B: Any) -> tuple[Any, Any] | None:
        """Each label of each example is a decision between two classes, no and yes."""
        import torch

        yes_M = logits_BC.flatten()
        return torch.stack([torch.zeros_like(yes_M), yes_M], 1), labels_B.flatten().long()


@dataclass(frozen=True)
class Score(AnswerKind):
    """A number. Two are the same where they lie on the same side of each of `cuts` or, without
    cuts, at most `tolerance` apart.

    Args:
        num_labels: 1.
        tolerance: 0 or above; None: not known.
        cuts: what a filter cuts at; a score that is a cut lies above it.
        error: early heads give two numbers, the score and how far the last layer's will be from it
            (COMET's early exits, 2502.14429); the error's target reads no label.
    """

    num_labels: int = 1
    tolerance: float | None = None
    cuts: tuple[float, ...] = ()
    error: bool = False

    problem_type = SCORE
    metric_names = ("pearson", "spearman")
    label_dtype = np.float32
    unlabelled = math.nan

    @property
    def columns(self) -> Mapping[str, str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"score": "float"} | ({"error": "float"} if self.error else {})

    @property
    def width(self) -> int:
        return 2 if self.error else 1

    @property
    def comparable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return bool(self.cuts) or self.tolerance is not None

    def same(self, logits_BC: Any, others_BC: Any) -> Any:
        """ValueError where neither cuts nor a tolerance are known."""
        return self._same(logits_BC[..., 0], others_BC[..., 0])

    def _same(self, score_B: Any, other_B: Any) -> Any:
        if self.cuts:
            both = [(score_B >= cut) == (other_B >= cut) for cut in self.cuts]
            return math.prod(both[1:], start=both[0])
        if self.tolerance is None:
            raise ValueError("two scores are compared by task.tolerance or task.cuts: give one")
        return abs(score_B - other_B) <= self.tolerance

    def right(self, logits_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
        """The label counts as another score."""
        if not self.comparable:
            return np.full(labels_B.shape, np.nan)
        return np.where(np.isnan(labels_B), np.nan, self._same(logits_BC[..., 0], labels_B))

    def probabilities(self, logits_BC: np.ndarray) -> np.ndarray:
        return logits_BC[..., :1]

    def printed(self, logits_BC: np.ndarray, labels: Sequence[str]) -> list[dict[str, Any]]:
        """error: as the head predicts it, 0 at least, as at full depth."""
        rows = logits_BC.astype(np.float64).round(6)
        rows[:, 1:] = rows[:, 1:].clip(min=0)
        return [dict(zip(self.columns, row, strict=True)) for row in rows.tolist()]

    def margin(self, logits_BC: np.ndarray) -> np.ndarray:
        return np.full(len(logits_BC), np.inf, np.float32)

    def loss(self, logits_BC: Any, labels_B: Any, full_BC: Any = None) -> Any:
        """Squared error, of the predicted error too."""
        total = (logits_BC[:, 0].float() - labels_B.float()).square().sum()
        return total if full_BC is None else total + self._error_loss(logits_BC, full_BC)

    def divergence(self, student_BC: Any, teacher_BC: Any, temperature: float) -> Any:
        """Squared error, of the predicted error too; a score has no temperature."""
        total = (student_BC[:, 0].float() - teacher_BC[:, 0].float()).square().sum()
        return total + self._error_loss(student_BC, teacher_BC)

    def _error_loss(self, logits_BC: Any, full_BC: Any) -> Any:
        """Squared error of the predicted distance from the last layer's score; the score itself
        learns nothing by it."""
        if logits_BC.shape[1] < 2:
            return 0.0
        apart_B = (logits_BC[:, 0] - full_BC[:, 0]).float().abs().detach()
        return (logits_BC[:, 1].float() - apart_B).square().sum()

    def predictions(self, logits_BC: Any) -> Any:
        return logits_BC[:, 0].float()

    def as_classes(self, logits_BC: Any, labels_B: Any) -> tuple[Any, Any] | None:
        return None

    def with_error(self) -> AnswerKind:
        return replace(self, error=True)

    def padded(self, logits_BC: Any) -> Any:
        """The last layer's error is 0."""
        if not self.error or logits_BC.shape[1] == 2:
            return logits_BC
        from torch.nn import functional as F

        return F.pad(logits_BC, (0, 1))

    def spec(self) -> dict[str, Any]:
        about = {"tolerance": self.tolerance, "cuts": [*self.cuts], "error": self.error}
        return super().spec() | {"answer": about}


def kind_of(config: Mapping[str, Any], num_labels: int) -> AnswerKind:
    """Read the kind from a config.json or export.json, of ours or of Hugging Face.

    Without a `problem_type` one output is a score, as in transformers, and several are classes.
    ValueError, in one line, names the key, its bounds and its value.

    Args:
        config: may have `problem_type` and, for a score, `answer` as `Score.spec` gives it.
        num_labels: outputs of the last head.
    """
    wanted = config.get("problem_type") or (SCORE if num_labels == 1 else SINGLE)
    if wanted not in PROBLEM_TYPES:
        raise ValueError(f"problem_type must be among {PROBLEM_TYPES}, got {wanted!r:.60}")
    if wanted == MULTI:
        return MultiLabel(num_labels)
    if (wanted == SCORE) != (num_labels == 1):
        bounds = "1" if wanted == SCORE else "2 or more"
        raise ValueError(f"num_labels must be {bounds} for {wanted}, got {num_labels}")
    if wanted == SINGLE:
        return SingleLabel(num_labels)
    about = config.get("answer") or {}
    if not isinstance(about, Mapping):
        raise ValueError(f"answer must hold tolerance, cuts and error, got {about!r:.60}")
    tolerance, cuts = about.get("tolerance"), about.get("cuts") or []
    if faults := score_faults(tolerance, cuts):
        raise ValueError(f"answer.{faults[0]}")
    if not isinstance(error := about.get("error", False), bool):
        raise ValueError(f"answer.error must be true or false, got {error!r:.60}")
    return Score(1, tolerance, tuple(map(float, cuts)), error)


def misfit(kinds: Sequence[str], here: AnswerKind) -> str:
    """Say that a method which compares answers of some kinds cannot compare those of another."""
    names = " or ".join(TITLES[kind] for kind in kinds)
    has = "is a regression" if isinstance(here, Score) else f"has {TITLES[here.problem_type]}"
    return f"compares {names}, and this task {has}"


def score_faults(tolerance: Any, cuts: Any) -> list[str]:
    """List the errors of the settings by which two scores are compared."""
    faults = []
    if tolerance is not None and not (is_number(tolerance) and tolerance >= 0):
        faults.append(f"tolerance must be 0 or above, got {tolerance!r:.60}")
    if isinstance(cuts, str | Mapping) or not isinstance(cuts, Sequence):
        return [*faults, f"cuts must be a list of numbers, got {cuts!r:.60}"]
    if wrong := [cut for cut in cuts if not is_number(cut)]:
        faults.append(f"cuts must be numbers, got {wrong[0]!r:.60}")
    return faults


def is_number(value: Any) -> bool:
    """True for a finite number that is no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
