"""What a `model/config.json` holds, as transformers reads it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import PretrainedConfig

from eat_lightning.bounds import raise_faults
from eat_lightning.model.contracts import MODEL_SLOTS, build_all
from eat_lightning.model.layer import Shape
from eat_lightning.weights.untrusted import shape_faults

SHAPE = [f.name for f in fields(Shape)]
STATIC = {"attention": "dense", "reduction": "none", "exit": "never"}


class EatConfig(PretrainedConfig):
    """The fields of `Shape`, the heads, and a method for each slot: its file's name as `kind`, and
    its arguments, such as `{"kind": "norm_topk", "ratio": 0.3, "layers": [2, 4]}`; of policies a
    list of such. objective: what a run was trained for, and what training here goes on with."""

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

    vocab_size: int = 30522
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    type_vocab_size: int = 2
    eps: float = 1e-12
    position_offset: int = 0
    relative_buckets: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layerdrop: float = 0.0
    head_width: int = 0
    hidden_act: str = "gelu"
    sep_token_id: int = 102
    pad_token_id: int = 0
    embedding_size: int = 0
    absolute_positions: bool = True
    relative: str = "bias"
    rotary_base: float = 10_000.0
    local_rotary_base: float = 10_000.0
    norm: str = "last"
    feed_forward: str = "plain"
    biases: bool = True
    layer_groups: int = 0
    local_layers: list[int] | None = None
    local_window: int = 128
    family: str = ""
    heads_by_layer: list[int] | None = None
    inner_by_layer: list[int] | None = None
    head: dict[str, Any] | None = None
    attention: dict[str, Any] | None = None
    reduction: dict[str, Any] | None = None
    exit: dict[str, Any] | None = None
    objective: dict[str, Any] | None = None
    policy: list[dict[str, Any]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.head, self.policy = self.head or {}, self.policy or []
        for slot, kind in (STATIC | {"objective": "joint"}).items():
            setattr(self, slot, getattr(self, slot) or {"kind": kind})
        if self.problem_type == "multi_label_classification":
            raise ValueError("problem_type must be regression or single_label_classification")
        if self.num_labels == 1:
            self.problem_type = "regression"  # else a pipeline puts a sigmoid on the score
        given = {name: getattr(self, name) for name in SHAPE}
        raise_faults(shape_faults(given))  # before an encoder of such a size is made
        self.methods()

    def methods(self) -> dict[str, Any]:
        """The methods and the objective, built; ValueError lists what is wrong with them."""
        built = {slot: getattr(self, slot) for slot in (*MODEL_SLOTS, "objective")}
        return build_all(built, self.num_layers)

    def to_diff_dict(self) -> dict[str, Any]:
        """Everything, defaults too: `weights.checkpoint` reads the file and knows none."""
        return self.to_dict()
