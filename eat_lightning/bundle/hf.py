"""Hugging Face interface: `AutoModelForSequenceClassification`, `pipeline`, `save_pretrained`.

Importing this module registers both classes; no other module imports transformers' model classes.

Shapes: B examples, L padded length, N packed tokens, C classes, E exit heads.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers import initialization as init
from transformers.utils.hub import cached_file

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.model.contracts import Objective, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import layers_with_heads, slot_faults
from eat_lightning.model.int8 import in_int8, is_int8
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import from_folder, portable
from eat_lightning.model.positions import Disentangled, Distance, RelativeBias
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import MODEL_SLOTS, STATIC, Specification, build_all
from eat_lightning.model.trace import Trace
from eat_lightning.model.training import Context
from eat_lightning.record.dial import Budget, at_kept_point
from eat_lightning.validation import Count, raise_faults, value_faults
from eat_lightning.weights.checkpoint import claimed, load_pretrained, model_config, own_weights
from eat_lightning.weights.exits import exits_beside, load_exits
from eat_lightning.weights.factors import load_factors, save_factors
from eat_lightning.weights.families import known_family
from eat_lightning.weights.files import EXITS, SAFE, own_config, sizes_in
from eat_lightning.weights.hf_config import SHAPE, EatConfig
from eat_lightning.weights.hf_names import sizes_of
from eat_lightning.weights.hf_output import EatOutput
from eat_lightning.weights.hub import model_folder
from eat_lightning.weights.untrusted import claim_faults, model_faults, read_config

HUB = {"cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder"}
HUB |= {"token"}
OPTIONS = {*SHAPE, *MODEL_SLOTS, "objective", "head", "take", "num_labels", "id2label", "label2id"}
KIND = ("problem_type", "answer")
OPTIONS |= {*KIND}


class EatForSequenceClassification(PreTrainedModel):
    """The encoder with Hugging Face's interface, for the `model/` folder of a run and for plain
    folders of any supported family (without methods, unless they are given). transformers' own
    classes open such folders too, and run every layer on every token.
    """

    config_class = EatConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: EatConfig):
        super().__init__(config)
        methods = config.methods()
        self.objective = methods.pop("objective")
        num_labels = config.num_labels or 2
        kind = config.kind
        head = head_for(config.head or {}, methods["exit"], config.num_layers, kind)
        shape = Shape(**{name: getattr(config, name) for name in SHAPE})
        policies = from_folder(config.policy or [])
        self.encoder = AdaptiveEncoder(
            shape, num_labels, **methods, head=head, policies=policies, kind=kind
        )
        config.head = self.encoder.head
        self.post_init()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, config: Any = None, **kwargs: Any
    ) -> Any:
        """Open a folder as in transformers. Settings of `EatConfig` passed by name replace those of
        the folder.

        A head that the folder lacks (a new layer in `exit`) is untrained.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the hub.
            args: as in transformers.
            config: a config instead of the folder's.
            kwargs: fields of `EatConfig`, and transformers' options; dtype="int8" is for inference,
                with products of weights in int8.

        Raises:
            ValueError: for a setting, a number of labels or a file that does not fit.
        """
        if kwargs.get("dtype") == "int8":
            whole = kwargs | {"dtype": torch.float32, "config": config}
            loaded: Any = cls.from_pretrained(pretrained_model_name_or_path, *args, **whole)
            model = loaded[0] if isinstance(loaded, tuple) else loaded
            model.encoder = in_int8(model.encoder)
            return loaded
        name = str(pretrained_model_name_or_path)
        hub = {key: kwargs[key] for key in HUB if key in kwargs}
        saved, _ = PretrainedConfig.get_config_dict(name, **hub)
        try:
            folder = folder_with_exits(name, hub)
            own = None if own_config(folder) is None else read_config(folder)
            if own is None and known_family(saved.get("model_type")) is not None:
                options = {k: v for k, v in kwargs.items() if k not in HUB}
                return cls.from_backbone(name, saved, config, **options)
            saved, replaced = own or saved, MODEL_SLOTS if config is not None else kwargs
            weights = None if own is None else weights_in(folder, own)
            sizes = stored_sizes(name, hub) if weights is None else weights_sizes(weights)
            check_claims(name, saved, sizes, replaced)
            check_num_labels(name, saved, config, kwargs)
            wants_info = kwargs.pop("output_loading_info", False)
            if own is not None and config is None:
                dtypes = {k: kwargs.pop(k) for k in ("dtype", "torch_dtype") if k in kwargs}
                made: Any = EatConfig.from_dict(own, return_unused_kwargs=True, **kwargs)
                config, kwargs = made[0], made[1] | dtypes
            # Weights of the other formats are pickles.
            kwargs |= {"config": config, "output_loading_info": True, "use_safetensors": True}
            place = name if weights is None else None
            loaded = super().from_pretrained(place, *args, state_dict=weights, **kwargs)
            model, info = loaded
            model.name_or_path = name
            load_factors(model.encoder, folder)
        except (ConfigError, SafetensorError) as error:
            raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
        missing = sorted(k for k in info["missing_keys"] if not k.startswith("encoder.heads."))
        if missing:
            raise ValueError(f"{name}: its weights lack {missing[0]} and {len(missing) - 1} more")
        return (model, info) if wants_info else model

    @classmethod
    def from_backbone(
        cls, name: str, saved: dict[str, Any], config: EatConfig | None = None, **options: Any
    ) -> Any:
        """Open a plain Hugging Face folder with its pooler and classifier, and exits stored beside
        it. Warns where it has none, and no method is given.
        """
        if config is not None:
            given = ("head", *MODEL_SLOTS, "objective", "num_layers", "id2label", "label2id", *KIND)
            options = {key: getattr(config, key) for key in given} | options
        beside = exits_beside(Path(name))
        options = beside | options
        options = {EatConfig.attribute_map.get(k, k): v for k, v in options.items()}
        dtype, wants_info = options.pop("dtype", None), options.pop("output_loading_info", False)
        if unknown := options.keys() - OPTIONS:
            raise ValueError(f"from_pretrained: {min(unknown)} is not an option for a plain folder")
        labels = label_names(saved, options)
        num_layers: Any = options.pop("num_layers", None) or sizes_of(saved, 0).get("num_layers")
        raise_faults(value_faults(Count, f"{name}: num_layers", num_layers))
        objective = options.pop("objective", None)
        is_plain = not options.keys() & {*MODEL_SLOTS}
        chosen = {slot: options.pop(slot, None) or off for slot, off in STATIC.items()}
        methods = build_all(chosen, num_layers)
        head = {"activation": "auto", **(options.pop("head", None) or {})}
        kind = kind_of(saved | {k: options.pop(k) for k in KIND if k in options}, len(labels))
        kind = kind.with_error() if beside and methods["exit"].wants_error else kind
        options |= methods | {"head": head_for(head, methods["exit"], num_layers, kind)}
        encoder = load_pretrained(name, len(labels), num_layers=num_layers, kind=kind, **options)
        if beside:
            load_exits(encoder, Path(name))
        if num_layers == sizes_of(saved, 0).get("num_layers"):  # they are of all layers
            load_factors(encoder, model_folder(name))
        if is_plain:
            warnings.warn(f"{name} has no exits: all of its layers run", stacklevel=3)
        model = cls.around(encoder.to(dtype_of(dtype, saved)), labels, objective)
        info = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}
        return (model, info) if wants_info else model

    @classmethod
    def around(
        cls, encoder: AdaptiveEncoder, labels: list[str], objective: dict[str, Any] | None = None
    ) -> EatForSequenceClassification:
        """Wrap an encoder as a Hugging Face model, in evaluation mode."""
        with torch.device("meta"):  # its own encoder is thrown away
            model = cls(EatConfig(**model_config(encoder, labels), objective=objective))
        model.encoder = encoder
        return model.eval()

    def set_budget(self, budget: float) -> None:
        """Set exit rule and reduction to the point of the dial for a mean cost.

        The dial is stored beside the model's folder (`eat measure run=... budgets=[0.5]` fits it).

        Args:
            budget: average cost of an example, as a share of full FLOPs.

        Raises:
            ValueError: without a dial.
        """
        self._turn_to(Budget.parse(budget))

    def set_agreement(self, agree: float) -> None:
        """Set exit rule and reduction to the cheapest point of the dial with an agreement.

        Args:
            agree: minimum share of answers equal to those of full depth.

        Raises:
            ValueError: without a dial.
        """
        self._turn_to(Budget.parse_agreement(agree))

    def _turn_to(self, wanted: Budget) -> None:
        loaded = self.__dict__.setdefault(
            "encoder_as_loaded", self.encoder
        )  # no part of the weights
        self.encoder = at_kept_point(Path(str(self.name_or_path)), loaded, wanted)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save the model, including methods changed since it was loaded."""
        encoder = self.encoder
        if is_int8(encoder):
            raise ValueError('int8 is not saved: save it in fp32, and load that with dtype="int8"')
        last, heads = encoder.shape.num_layers, encoder.head["layers"]
        raise_faults(slot_faults(encoder.exit, heads, last, encoder.kind))
        for slot in MODEL_SLOTS:
            setattr(self.config, slot, Specification.of(slot, getattr(encoder, slot)).as_dict())
        self.config.policy = portable(encoder.policies)
        super().save_pretrained(save_directory, **kwargs)
        save_factors(encoder, Path(save_directory))

    def _upload_modified_files(self, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
        """Upload the card beside the weights instead of an empty one."""
        card = Path(str(self.name_or_path), "README.md")
        if card.is_file():
            shutil.copy(card, working_dir)
        return super()._upload_modified_files(working_dir, *args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the weights that a checkpoint lacks. transformers' functions do not change
        loaded tensors.
        """
        super()._init_weights(module)
        if (temperature := module._buffers.get("temperature")) is not None:  # a head's
            init.ones_(temperature)
            if (centre := module._buffers.get("centre")) is not None:
                init.zeros_(centre)
        elif isinstance(module, Distance):
            for table, made in module.tables().items():
                init.copy_(module.get_buffer(table), made)
            if isinstance(module, RelativeBias | Disentangled):
                init.normal_(module.weight, std=0.02)
        elif isinstance(module, AdaptiveEncoder):
            init.ones_(module.strength)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embedding.word

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.encoder.embedding.word = value

    def forward(
        self,
        input_ids: Int[Tensor, "b l"],
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "b l"] | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        teacher_logits: Float[Tensor, "b c"] | None = None,
        about: Sequence[Mapping[str, str]] | None = None,
    ) -> EatOutput | tuple[Any, ...]:
        """Answer a padded batch. In training no example exits early, and the loss is that of
        `config.objective` over all exits; in evaluation it is that of the answers.

        Args:
            input_ids: (B, L), padded left or right.
            attention_mask: (B, L), 0 for padding. None: no padding.
            token_type_ids: (B, L); None: all 0.
            labels: labels (B). None: no loss.
            return_dict: False returns a tuple. None: as in the config.
            teacher_logits: (B, C), for an objective that distils.
            about: facts about each example for policies, such as its `source`.
        """
        batch = pack(input_ids, attention_mask, token_type_ids, self.encoder.shape.max_length)
        batch.about = about
        trace = self.encoder(batch, PassOptions(flow=self.objective.flow))
        nothing_BC = torch.full_like(trace.logits_BC, float("nan"))
        guesses = [trace.guesses.get(k, nothing_BC) for k in self.encoder.head["layers"]]
        output = EatOutput(
            loss=None if labels is None else self.loss(trace, labels, teacher_logits),
            logits=trace.logits_BC[:, : self.encoder.num_labels],
            depth=trace.depth_B.to(input_ids.device),
            exit_reason=trace.reason_B.to(input_ids.device),
            exit_logits=torch.stack(guesses),
            tokens=trace.tokens_LB.to(input_ids.device),
        )
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    def loss(self, trace: Trace, labels_B: Tensor, teacher_BC: Tensor | None) -> Tensor:
        """Mean loss over the examples.

        Raises:
            ValueError: where the objective distils and there is no teacher.
        """
        kind = self.encoder.kind
        labels_B = labels_B.reshape(trace.logits_BC.shape[0], *kind.label_shape)
        if not self.training:
            return kind.loss(trace.logits_BC, labels_B) / len(labels_B)
        if self.objective.wants_teacher and teacher_BC is None:
            raise ValueError(
                "objective.distill needs teacher_logits: give them, or load the model with "
                'objective={"kind": "joint"}'
            )
        hooks = (Objective.passes, Objective.effective_weights)
        if self.objective.wants or any(overrides(self.objective, hook) for hook in hooks):
            raise ValueError(
                f"objective={self.config.objective['kind']} asks for more than a batch: train with "
                "python -m eat_lightning.train, or load the model with another objective"
            )
        last = self.encoder.shape.num_layers
        context = Context(
            trace.guesses,
            labels_B,
            last,
            teacher_BC,
            trace.signals,
            trace.inside.penalties,
            full_BC=trace.guesses[last],
            kind=kind,
        )
        return self.objective(context).total / len(labels_B)


def head_for(head: dict[str, Any], exit: Any, num_layers: int, kind: AnswerKind) -> dict[str, Any]:
    """Return a head's settings, with heads added at all layers that the exit rule uses.

    Raises:
        ValueError: where they are incompatible.
    """
    given = layers_with_heads(head.get("layers", ()), num_layers)
    made = head | {"layers": sorted({*given, *exit.layers})}
    raise_faults(slot_faults(exit, made["layers"], num_layers, kind))
    return made


def folder_with_exits(name: str, hub: dict[str, Any]) -> Path:
    """Return the folder of a model; of one on the hub with exits, where its files are cached."""
    folder, exits = Path(name, hub.get("subfolder") or ""), f"{EXITS}/config.json"
    if Path(name).is_dir():
        return folder
    hub = hub | {"_raise_exceptions_for_missing_entries": False}
    if cached_file(name, exits, **hub) is None:
        return folder
    found = [cached_file(name, file, **hub) for file in (f"{EXITS}/{SAFE}", SAFE, "config.json")]
    return folder if found[-1] is None else Path(found[-1]).parent


def weights_in(folder: Path, own: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a run's model, which transformers' classifier and its exits hold."""
    return {f"encoder.{name}": weight for name, weight in own_weights(folder, own).items()}


def weights_sizes(weights: dict[str, Tensor]) -> dict[str, list[int]]:
    """Return sizes as `sizes_in` does."""
    return {name.removeprefix("encoder."): [*weight.shape] for name, weight in weights.items()}


def stored_sizes(name: str, hub: dict[str, Any]) -> dict[str, list[int]] | None:
    """Return the sizes of a model's weights; None where they lie in several files."""
    hub = hub | {"_raise_exceptions_for_missing_entries": False}
    path = cached_file(name, SAFE, **hub)
    return None if path is None else sizes_in(Path(path))


def check_claims(
    name: str,
    saved: dict[str, Any],
    sizes: dict[str, list[int]] | None,
    replaced: Collection[str],
) -> None:
    """Check that config.json is valid, and that its sizes match the weights. Methods that the
    caller replaces are not checked.
    """
    if saved.get("model_type") != "eat":
        raise ValueError(f"{name}: model_type must be eat, got {saved.get('model_type')!r:.60}")
    saved = {"id2label": {"0": "LABEL_0"}} | saved
    faults = model_faults(saved)
    if not faults and sizes is not None:
        others = {slot: off.as_dict() for slot, off in STATIC.items() if slot in replaced}
        wanted = claimed(saved | others, len(saved["id2label"]))
        faults = claim_faults(wanted, sizes, prefix="encoder.")
    if faults:
        raise ValueError(f"{name}: {one_line(faults[0])}")


def dtype_of(given: Any, saved: dict[str, Any]) -> torch.dtype:
    """Choose the dtype as transformers does: the given one, or for "auto" that of the folder's
    config.
    """
    if given in (None, "auto"):
        given = saved.get("dtype") or saved.get("torch_dtype") or "float32"
    return given if isinstance(given, torch.dtype) else getattr(torch, given)


def label_names(saved: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Remove the label names from `options` and return them: id2label, or num_labels with the
    folder's own names if they fit.
    """
    names, num_labels = options.pop("id2label", None), options.pop("num_labels", None)
    options.pop("label2id", None)
    if names is None and num_labels in (None, len(saved.get("id2label") or {})):
        names = saved.get("id2label")
    if names is None:
        return [f"LABEL_{i}" for i in range(num_labels or 2)]
    return [names[i] if i in names else names[str(i)] for i in range(len(names))]


def check_num_labels(name: str, saved: dict[str, Any], config: Any, given: dict[str, Any]) -> None:
    names = given.get("id2label") or getattr(config, "id2label", None)
    wanted = given.get("num_labels") or len(names or saved.get("id2label") or ())
    there = len(saved.get("id2label") or ())
    if wanted != there and not given.get("ignore_mismatched_sizes"):
        raise ValueError(f"{name}: its heads have {there} classes, {wanted} were requested")


def pack(
    ids_BL: Int[Tensor, "b l"],
    mask_BL: Tensor | None,
    types_BL: Int[Tensor, "b l"] | None,
    max_length: int,
) -> Batch:
    """Concatenate the real tokens, for padding on either side."""
    real_BL = torch.ones_like(ids_BL, dtype=torch.bool) if mask_BL is None else mask_BL.bool()
    if ids_BL.ndim != 2 or real_BL.shape != ids_BL.shape:
        raise ValueError(
            "input_ids and attention_mask must both be (examples, length), got "
            f"{tuple(ids_BL.shape)} and {tuple(real_BL.shape)}"
        )
    lengths_B = real_BL.sum(1).cpu()
    if not lengths_B.numel() or lengths_B.min() < 1 or lengths_B.max() > max_length:
        raise ValueError(
            f"each example must have 1..{max_length} tokens, got {sorted({*lengths_B.tolist()})}: "
            "tokenize with truncation=True"
        )
    rows_N = torch.nonzero_static(real_BL.flatten(), size=int(lengths_B.sum())).flatten()
    ids_N = ids_BL.flatten()[rows_N].long()
    types_N = torch.zeros_like(ids_N) if types_BL is None else types_BL.flatten()[rows_N].long()
    return Batch(ids_N, types_N, lengths_B)


AutoConfig.register("eat", EatConfig, exist_ok=True)
AutoModelForSequenceClassification.register(EatConfig, EatForSequenceClassification, exist_ok=True)
