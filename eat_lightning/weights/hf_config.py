"""The content of `model/config.json`, readable by transformers."""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.model.shape import Shape, shape_faults
from eat_lightning.model.specification import MODEL_SLOTS, OFF, build_all
from eat_lightning.validation import raise_faults
from eat_lightning.weights.files import own_config

SHAPE = [f.name for f in fields(Shape)]
BASE = {"vocab_size": 30522, "hidden_size": 768, "num_layers": 12, "num_heads": 12}
BASE |= {"intermediate_size": 3072}  # of BERT, where `Shape` has no default
Sizes: Any = make_dataclass(
    "Sizes", [(f.name, Any, BASE.get(f.name, f.default)) for f in fields(Shape)]
)


class EatConfig(Sizes, PretrainedConfig):
    """The fields of `Shape`, the heads, and a method for each slot.

    A method has its file's name as `kind`, and its arguments, such as `{"kind": "norm_topk",
    "ratio": 0.3, "layers": [2, 4]}`.

    Args:
        head: kind, layers and arguments of the exit heads.
        attention: the pattern; None: dense.
        reduction: None: no reduction.
        exit: the rule; None: never.
        objective: of the training; further training continues with it.
        policy: a list of methods.
        answer: how two scores are compared, see `answer_kind.Score`.
    """

    model_type = "eat"
    attribute_map = {  # noqa: RUF012  (transformers' own form)
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "max_position_embeddings": "max_positions",
        "layer_norm_eps": "eps",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
    keys_to_ignore_at_inference = ["depth", "exit_reason"]  # noqa: RUF012  (Trainer gathers logits)

    head: dict[str, Any] | None = None
    attention: dict[str, Any] | None = None
    reduction: dict[str, Any] | None = None
    exit: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    policy: list[dict[str, Any]] | None = None
    answer: dict[str, Any] | None = None

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Read a config.json, or the encoder's own beside transformers' classifier."""
        found, rest = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return own_config(Path(str(pretrained_model_name_or_path))) or found, rest

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.head, self.policy = self.head or {}, self.policy or []
        for slot, kind in (OFF | {"objective": "joint"}).items():
            setattr(self, slot, getattr(self, slot) or {"kind": kind})
        if self.num_labels == 1 and self.problem_type is None:
            self.problem_type = "regression"  # else a pipeline puts a sigmoid on the score
        given = {name: getattr(self, name) for name in SHAPE}
        raise_faults(shape_faults(given))  # before an encoder of such a size is made
        self.methods()
        self.kind  # noqa: B018  (its faults show before an encoder is made)

    @property
    def kind(self) -> AnswerKind:
        """The kind of answers.

        Raises:
            ValueError: in one line, for invalid settings.
        """
        about = {"problem_type": self.problem_type, "answer": self.answer}
        return kind_of(about, self.num_labels or 2)

    def methods(self) -> dict[str, Any]:
        """Return instances of the methods and the objective.

        Raises:
            ValueError: listing all errors.
        """
        built = {slot: getattr(self, slot) for slot in (*MODEL_SLOTS, "objective")}
        return build_all(built, self.num_layers)

    def to_diff_dict(self) -> dict[str, Any]:
        """Return all fields including defaults, because `weights.checkpoint` reads the file without
        knowing these.
        """
        return self.to_dict()
