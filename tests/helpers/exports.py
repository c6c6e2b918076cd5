"""Small runs to export, whose examples differ in answer and depth, for tests."""

from pathlib import Path
from typing import Any

import torch
from helpers import finished, shared
from helpers.models import method, spread, tiny_shape

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.config import make
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.new.toy import kind_for

NAME = "task=sst2,model=eat,seed=1"  # a name that needs quotes
SMALL = {
    "fixed": {"layer": 2},  # exits and pruning within three layers
    "norm_topk": {"layers": [1, 2]},
    "received_topk": {"layers": [1, 2]},
    "cls_topk": {"layers": [1, 2]},
    "first": {"layers": [0, 2]},
    "lengthdrop": {"layers": [1, 2]},
    "confidence": {"tau": [0.75, 0.7], "layers": [1, 2]},
    "patience": {"layers": [1, 2]},
    "entropy": {"entropy": [0.55, 0.6], "layers": [1, 2]},
    "margin": {"lead": [0.5, 0.4], "layers": [1, 2]},
    "fpabee": {"divergence": 0.02, "layers": [1, 2]},
    "pcee": {"uncertainty": 0.9, "layers": [1, 2]},
    "beem": {"alpha": [0.08, 0.2], "layers": [1, 2]},
    "every_label": {"tau": [0.6, 0.55], "layers": [1, 2]},
    "fpabee_labels": {"divergence": 0.05, "layers": [1, 2]},
    "predicted_error": {"bound": [0.5, 1.0], "layers": [1, 2]},
}


def exported(run: Path, *overrides: str, to: str = "onnx") -> Path:
    """Beside the run, in a folder of that name."""
    from eat_lightning.bundle.graphs.command import export

    given = [f"run='{run}'", f"to='{run.parent / to}'", "check=0", *overrides]
    return export(finished.config_of("export", *given))


def shared_export() -> Path:
    """Return the folder of a run with an export in `graphs/onnx-fp32`, checked on all of dev.

    One serves all workers, so tests only read it: one that writes takes a copy.
    """
    return shared.once("exported", make_export) / NAME


def make_export(folder: Path) -> None:
    from eat_lightning.bundle.graphs.command import export

    run = make_run(folder / NAME, "dense", "norm_topk", "confidence")
    export(finished.config_of("export", f"run='{run}'", "check=all"))


def small(
    attention: str,
    reduction: str,
    exit: str,
    num_labels: int = 2,
    head: dict[str, Any] | None = None,
    layers: list[int] | None = None,
    kind: AnswerKind | None = None,
    **sizes,
) -> AdaptiveEncoder:
    """head: in place of a pooled one. layers: where the exit rule looks, else as in SMALL. kind: of
    answers; None: the first that the rule judges."""
    looks = {} if layers is None else {"layers": layers}
    rule = method("exit", exit, **SMALL.get(exit, {}) | looks)
    kind = kind or kind_for(rule, num_labels)
    torch.manual_seed(0)
    encoder = AdaptiveEncoder(
        tiny_shape(num_layers=3, **sizes),
        kind.num_labels,
        method("attention", attention),
        method("reduction", reduction, **SMALL.get(reduction, {})),
        rule,
        {"layers": list(rule.layers)}
        | (head or {"pool": "mean" if exit == "confidence" else "cls"}),
        kind=kind,
    )
    spread(encoder)
    return with_opinions(encoder.eval())


def with_opinions(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Random heads all but repeat themselves; these tell examples apart, some with confidence."""
    torch.manual_seed(1)
    vocab = encoder.shape.vocab_size
    examples = [[2, *torch.randint(5, vocab, (5 + i % 9,)).tolist()] for i in range(64)]
    with torch.no_grad():
        trace = encoder(Batch.from_lists(examples), ALL_EXITS)
        for layer, guess_BC in trace.guesses.items():
            classes = encoder.heads[str(layer)].classes
            guess_BC = guess_BC[:, : len(classes.bias)]  # a score's last head gives no error
            classes.bias.sub_(guess_BC.mean(0)).mul_(1.5 / guess_BC.std(0))
            classes.weight.mul_(1.5 / guess_BC.std(0)[:, None])
        encoder.heads["3"].temperature.fill_(1.25)
    return encoder


def make_run(
    folder: Path,
    *slots: str,
    task: str = "sst2",
    head: dict[str, Any] | None = None,
    layers: list[int] | None = None,
) -> Path:
    """A finished run without training."""
    tokenizer, kind = toy_tokenizer(), make(finished.node_of(task)).kind
    if slots[2] == "predicted_error":
        kind = kind.with_error()
    sizes = {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    encoder = small(*slots, head=head, layers=layers, kind=kind, max_positions=80, **sizes)
    data = {"num_validation": 70, "calibration": 240, "cache_dir": str(folder / "cache")}
    return finished.finish(folder, encoder, task, data)
