"""Models of the golden tests, equal on every processor: their weights are read from small files, or
drawn from integers. Nothing is trained.

`weights/run.safetensors` was trained once, by `eat train task=sst2 data=toy encoder=tiny model=eat`
for 3,400 steps, with 4 layers of width 16 and reduction=norm_topk. It is kept as float16 under
transformers' names. The other files hold the exits that `eat adapt` trained for a classifier.

EAT_GOLDEN_JITTER=<number> moves each weight by up to a millionth, differently for each number. This
changes logits at least as much as the rounding of another processor does.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from golden.comparing import JITTER
from helpers import finished
from helpers.classifiers import drawn_texts
from safetensors.numpy import load_file, save_file

from eat_lightning.config import make
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.every_label import EveryLabel
from eat_lightning.methods.exit.predicted_error import PredictedError
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.weights.checkpoint import load_pretrained

WEIGHTS = Path(__file__).with_name("weights")
MILLIONTH = 1e-6
SPREAD = 1.4  # standard deviation of the logits of a drawn head
CALIBRATION = {"ece_before": 0.06, "ece_after": 0.04, "temperature": 1.5}  # as training notes it
Weights = dict[str, np.ndarray]


def drawn(name: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Numbers between -scale and scale that follow from the name alone. Philox gives the same
    integers everywhere, and each becomes a float by operations that do not round."""
    size = int(np.prod(shape))
    raw = np.random.Philox(crc32(name.encode())).random_raw(-(-size // 4))
    halves = raw.astype("<u8").view("<u2")[:size].astype(np.float32)
    return ((halves - 32767.5) / 32768).reshape(shape) * np.float32(scale)


def stored(name: str) -> Weights:
    return {k: w.astype(np.float32) for k, w in load_file(WEIGHTS / f"{name}.safetensors").items()}


def jittered(weights: Weights) -> Weights:
    """The weights, or ones that differ slightly where EAT_GOLDEN_JITTER asks for them."""
    number = os.environ.get(JITTER)
    if not number:
        return weights
    return {k: w * (1 + drawn(f"{number} {k}", w.shape, MILLIONTH)) for k, w in weights.items()}


def bert_sizes(num_layers: int, width: int, max_positions: int) -> dict[str, Any]:
    """The sizes in the config.json of a BERT that reads the words of the toy grammar."""
    return {
        "vocab_size": len(toy_tokenizer()),
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "max_position_embeddings": max_positions,
        "type_vocab_size": 2,
    }


def bert_shapes(sizes: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each weight of transformers' BertModel."""
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]
    tables = {"word": "vocab_size", "position": "max_position_embeddings"}
    for name, size in (tables | {"token_type": "type_vocab_size"}).items():
        yield f"embeddings.{name}_embeddings.weight", (sizes[size], width)
    layers = [f"encoder.layer.{number}." for number in range(sizes["num_hidden_layers"])]
    linear = {f"attention.self.{name}": (width, width) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (width, width), "intermediate.dense": (inner, width)}
    linear |= {"output.dense": (width, inner)}
    for name, shape in ((home + name, x) for home in layers for name, x in linear.items()):
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    norms = [home + name for home in layers for name in ("attention.output.", "output.")]
    for name in ("embeddings.", *norms):
        yield f"{name}LayerNorm.weight", (width,)
        yield f"{name}LayerNorm.bias", (width,)


def drawn_bert(sizes: dict[str, Any], seed: str) -> Weights:
    """Weights that tell texts apart: large matrices, and norms of which no two are the same."""
    found = {}
    for name, shape in bert_shapes(sizes):
        scale = 0.5 if len(shape) > 1 else 0.4 if name.endswith("LayerNorm.weight") else 0.1
        weight = drawn(f"{seed} {name}", shape, scale)
        found[f"bert.{name}"] = weight + 1 if name.endswith("LayerNorm.weight") else weight
    return found


def save_bert(folder: Path, sizes: dict[str, Any], weights: Weights, **settings: Any) -> Path:
    """Write a model folder as transformers does."""
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config | sizes | settings))
    save_file(jittered(weights), folder / "model.safetensors", {"format": "pt"})
    toy_tokenizer().save_pretrained(folder)
    return folder


def save_classifier(folder: Path, labels: list[str], num_layers: int = 2, **settings: Any) -> Path:
    """Write a classifier with drawn weights, as transformers does. Its answers are balanced.

    Args:
        settings: further keys of config.json.
    """
    sizes = bert_sizes(num_layers, 32, 64)
    weights = drawn_bert(sizes, "classifier") | {
        "bert.pooler.dense.weight": drawn("pooler", (32, 32), 0.5),
        "bert.pooler.dense.bias": drawn("pooler bias", (32,), 0.1),
        "classifier.weight": drawn("classes", (len(labels), 32), 1.0),
        "classifier.bias": np.zeros(len(labels), np.float32),
    }
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    save_bert(folder, sizes, weights, **names, **settings)
    file = folder / "model.safetensors"
    saved = load_file(file)
    saved["classifier.bias"] = -medians(folder)
    save_file(saved, file, {"format": "pt"})
    return folder


@torch.inference_mode()
def medians(folder: Path) -> np.ndarray:
    """The median of each logit over random texts."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = drawn_texts(65, seed=21)  # no others: the logit of one of them becomes 0
    logits_BC = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return logits_BC.median(0).values.numpy()


@dataclass(frozen=True)
class RunModel:
    """The parts of a finished run: task, backbone, heads and methods.

    Args:
        texts: over which drawn heads are balanced; none of a run that was trained.
    """

    task: str
    exit: Any
    head: dict[str, Any]
    weights: Weights
    sizes: dict[str, Any]
    reduction: Any = field(default_factory=Keep)
    data: dict[str, Any] = field(default_factory=dict)
    texts: list[list[str]] = field(default_factory=list)

    def make(self, folder: Path) -> Path:
        """Write the run, as training would have left it."""
        body = {name: w for name, w in self.weights.items() if name.startswith("bert.")}
        save_bert(folder / "body", self.sizes, body)
        kind = make(finished.node_of(self.task)).kind
        encoder = load_pretrained(
            str(folder / "body"),
            kind.num_labels,
            Dense(),
            self.reduction,
            self.exit,
            self.head,
            tokenizer=toy_tokenizer(),
            kind=kind.with_error() if self.exit.wants_error else kind,
        )
        heads = {k: w for k, w in encoder.state_dict().items() if k.startswith("heads.")}
        given = {k: self.weights.get(k, self.head_weight(k, w)) for k, w in heads.items()}
        state = {k: torch.tensor(w).to(heads[k].dtype) for k, w in jittered(given).items()}
        encoder.load_state_dict(state, strict=False)
        if self.texts:
            balance(encoder.eval(), self.texts)
        done = {"calibration": {str(layer): CALIBRATION for layer in self.head["layers"]}}
        data = {"num_train": 400, "cache_dir": str(folder / "cache")} | self.data
        named = {"encoder": {"pretrained": None}, "seed": 1, "model": "eat", "study": "golden"}
        return finished.finish(folder / "run", encoder.eval(), self.task, data, done, **named)

    def head_weight(self, name: str, new: torch.Tensor) -> np.ndarray:
        """A drawn weight of a head, the same at every layer, so that their answers often agree. A
        temperature stays what it is in a new head."""
        if not name.endswith((".weight", ".bias")):
            return new.numpy()
        part = name.partition(".")[2].partition(".")[2]
        scale = 1.0 if part == "classes.weight" else 0.2
        return drawn(f"{self.task} {part}", tuple(new.shape), scale)


@torch.no_grad()
def balance(encoder: AdaptiveEncoder, texts: list[list[str]]) -> None:
    """Give the logits of every head a mean of 0 and a standard deviation of SPREAD over some texts,
    so that its answers differ; predicted errors have a mean of 1.

    Args:
        texts: one column, or two of a task of pairs.
    """
    tokenizer: Any = toy_tokenizer()
    read = tokenizer(*texts)
    batch = Batch.from_lists(read["input_ids"], read["token_type_ids"])
    for layer, guess_BC in encoder(batch, ALL_EXITS).guesses.items():
        classes: Any = encoder.heads[str(layer)].classes
        guess_BC = guess_BC[:, : len(classes.bias)]  # the last head of a score gives no error
        classes.bias.sub_(guess_BC.mean(0)).mul_(SPREAD / guess_BC.std(0))
        classes.weight.mul_(SPREAD / guess_BC.std(0)[:, None])
        if encoder.num_labels == 1:
            classes.bias[1:] += 1


def trained_run() -> RunModel:
    """The run that was trained on the toy grammar."""
    return RunModel(
        task="sst2",
        exit=Confidence(0.9, [1, 2, 3]),
        head={"layers": [0, 1, 2, 3], "pool": "mean"},
        weights=stored("run"),
        sizes=bert_sizes(4, 16, 64),
        reduction=NormTopK(0.2, [2]),
        data={"num_validation": 200, "calibration": 600},
    )


def drawn_run(task: str, exit: Any, head: dict[str, Any], **parts: Any) -> RunModel:
    """A run with drawn weights, whose answers are arbitrary."""
    sizes = bert_sizes(3, 16, 64)
    columns = len(finished.node_of(task)["columns"])
    given = {
        "data": {"num_validation": 60, "calibration": 160},
        "texts": [drawn_texts(64), drawn_texts(64, seed=1)][:columns],
    }
    return RunModel(task, exit, head, drawn_bert(sizes, task), sizes, **given | parts)


def run_of_pairs() -> RunModel:
    """Pairs of texts, some of which leave before layer 1."""
    last = {"kind": "pooled", "pool": "mean"}
    head = {"kind": "aligned", "layers": [0, 1, 2], "last": last}
    return drawn_run("mnli", Confidence([0.45, 0.5, 0.6], [0, 1, 2]), head)


def run_of_labels() -> RunModel:
    return drawn_run("moods", EveryLabel(0.55, [1, 2]), {"layers": [1, 2], "pool": "mean"})


def run_of_scores() -> RunModel:
    return drawn_run("stsb", PredictedError(0.8, [1, 2]), {"layers": [1, 2], "pool": "mean"})


def run_of_letters() -> RunModel:
    """A run for real texts. Most of their words are none of the toy grammar, so that the tokenizer
    spells them."""
    head, reduction = {"layers": [0, 1, 2], "pool": "mean"}, NormTopK(0.3, [1, 2])
    rule = Confidence([0.8, 0.7, 0.7], [0, 1, 2])
    return drawn_run("sst2", rule, head, reduction=reduction, texts=[spelled_texts(64)])


def spelled_texts(num: int) -> list[str]:
    """Random letters, in words as long as English ones."""
    letters = drawn("letters", (num, 60), 1.0)
    words = np.array(list("abcdefghijklmnoprstuvwy     "))
    picked = words[((letters + 1) / 2 * len(words)).astype(int)]
    return ["".join(row[: 20 + i % 40]) for i, row in enumerate(picked)]
