"""A tuned classifier as transformers opens it: nothing of its folder is executed.

Shapes: B examples, C classes, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from eat_lightning.bundle.kernels import encoder_of
from eat_lightning.bundle.padded import padded_inputs
from eat_lightning.bundle.reranker import SCORE_OF_LISTS
from eat_lightning.data.split import reader_of
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.long_texts import CUT, Answerer, AnswerRequest, Joiner, LongTexts, Reader
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.reason import Reason, reason_names
from eat_lightning.model.trace import Trace
from eat_lightning.record.same_answer import SameAnswer, same_answer_of
from eat_lightning.weights.checkpoint import class_counts, classes_in, source_shape
from eat_lightning.weights.files import read_weights, weight_files
from eat_lightning.weights.hub import model_folder
from eat_lightning.weights.untrusted import read_config

ENDING = "ForSequenceClassification"


@dataclass(frozen=True)
class Original:
    """A classifier's folder, sound as far as its files say.

    Args:
        name: as a person gave it, a folder or a hub's name.
        config: of its config.json.
        max_length: tokens of a text that is read at once.
        long: how a longer one is read.
        column: the logit that orders lists, that of entailment; None: all are answers.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    same: SameAnswer
    tokenizer: Any
    max_length: int
    long: LongTexts = CUT
    column: int | None = None

    @classmethod
    def open(
        cls,
        name: str,
        max_length: int | None = None,
        tolerance: float | None = None,
        cuts: Sequence[float] = (),
        long: LongTexts = CUT,
        lists: bool = False,
    ) -> Original:
        """Open a folder or a hub's model. ConfigError, in one line, where it is none to adapt.

        Args:
            tolerance, cuts: by which two scores are compared.
            lists: it orders candidates, by its score or by the logit of entailment.
        """
        with as_model(name):
            folder = model_folder(name)
            config = read_config(folder)
            if config["model_type"] == "eat":
                exits = "is a run's own model, which has its exits: certify makes its certificates"
                raise ConfigError(f"model={name} {exits}")
            for architecture in config.get("architectures") or []:
                if not str(architecture).endswith(ENDING):
                    raise ConfigError(
                        f"model={name}: must be a text classifier (...{ENDING}), "
                        f"got {one_line(architecture, 60)}"
                    )
            counts = classes_in(folder)
            if weight_files(folder)[0].suffix != ".safetensors":
                weights = read_weights(folder, old=True)
                counts = class_counts({key: weight.shape for key, weight in weights.items()})
            if not counts:
                raise ConfigError(f"model={name}: its weights hold no classifier")
            num_labels = counts.pop()
            column = ordering_column(config, num_labels, name) if lists else None
            same = SameAnswer(SCORE_OF_LISTS, [])
            if not lists:
                same = same_answer_of(config, num_labels, name, tolerance, cuts)
            tokenizer: Any = tokenizer_for(str(folder))
            most = min(tokenizer.model_max_length, source_shape(config, folder).max_length)
        most = min(max_length or most, most)
        if faults := long.faults(same.kind, same.labels, most):
            raise ConfigError.of(faults)
        return cls(name, folder, config, same, tokenizer, most, long, column)

    @property
    def reader(self) -> Reader:
        return reader_of(self.tokenizer, self.max_length, self.long)

    @property
    def joiner(self) -> Joiner | None:
        """Joins answers to windows; None where none are read."""
        windows = self.long.mode == "windows"
        return Joiner(self.long, self.same.kind, self.same.labels) if windows else None

    @property
    def num_layers(self) -> int:
        return source_shape(self.config, self.folder).num_layers

    @property
    def width(self) -> int:
        return source_shape(self.config, self.folder).hidden_size

    @cached_property
    def model(self) -> Any:
        """transformers' own model in fp32, for inference."""
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            made = AutoModelForSequenceClassification.from_pretrained(
                self.folder, dtype=torch.float32, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # whatever transformers finds wrong with the files
            raise ConfigError(f"model={self.name}: {one_line(error, 160)}") from None
        return made.eval()

    def logits(self, inputs: dict[str, torch.Tensor]) -> Float[torch.Tensor, "b c"]:
        """Answer as transformers does; where one logit is the answer, that one alone."""
        logits_BC = self.model(**inputs).logits
        return logits_BC if self.column is None else logits_BC[:, self.column, None]

    def inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Pad a batch as the tokenizer would."""
        typed = "token_type_ids" in self.tokenizer.model_input_names
        return padded_inputs(batch, self.tokenizer.pad_token_id or 0, typed)

    def encoder(self, num_texts: int) -> AdaptiveEncoder:
        """Our encoder of the same weights, with new heads for exits."""
        with as_model(self.name):
            given = self.folder, self.same.kind, num_texts, self.tokenizer
            return encoder_of(*given, column=self.column)


class TransformersModel(Answerer):
    """transformers' own model in fp32, which reads and answers texts as every other model here.

    Args:
        columns: names of the texts of an example.
    """

    def __init__(self, original: Original, columns: Sequence[str]):
        self.original, self.columns = original, columns
        self.labels, self.kind = original.same.labels, original.same.kind
        self.num_layers, self.reader = original.num_layers, original.reader

    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        ids, types = zip(*((each.ids, each.types) for each in request.windows), strict=True)
        batch = Batch.from_lists(ids, types)
        with torch.inference_mode():
            logits_BC = self.original.logits(self.original.inputs(batch)).numpy()
        size, depth = len(logits_BC), self.num_layers
        yield replace(
            Trace.blank(size, self.kind.width, depth, reason_names()),
            logits_BC=logits_BC,
            depth_B=np.full(size, depth),
            reason_B=np.full(size, Reason.LAST_LAYER),
            tokens_LB=np.tile(batch.lengths_B.numpy(), (depth, 1)),
            rows_B=np.arange(size),
        )


def ordering_column(config: Mapping[str, Any], num_labels: int, where: str) -> int | None:
    """Find the logit of entailment, as transformers' zero-shot pipeline does; None of a score.

    ConfigError, in one line, for classes of another sort.
    """
    if num_labels == 1:
        return None
    classes = config.get("label2id")
    for name, number in classes.items() if isinstance(classes, dict) else ():
        if name.lower().startswith("entail") and number in range(num_labels):
            return int(number)
    raise ConfigError(
        f"model={where}: `eat rerank` is for a cross-encoder, which gives one score, or for "
        "classes with entailment, and this one has other classes"
    )


@contextmanager
def as_model(name: str) -> Iterator[None]:
    """Let errors name the setting `model` of this command."""
    try:
        yield
    except ConfigError as error:
        first = str(error).splitlines()[0].replace("encoder.pretrained=", "model=")
        first = first.removeprefix(f"{name}: ")
        raise ConfigError(
            first if first.startswith("model=") else f"model={name}: {first}"
        ) from None
