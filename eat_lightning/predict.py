"""`python -m eat_lightning.predict run=<folder> < lines`: JSON lines out, in order, streaming."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from eat_lightning.config import (
    CONFIG_DIR,
    compose_or_explain,
    plain,
    plain_errors,
    with_path_quoted,
)
from eat_lightning.errors import ConfigError
from eat_lightning.onnx_runner import answer_all, answer_lines, said

if TYPE_CHECKING:
    from eat_lightning.encoder import AdaptiveEncoder, Trace
    from eat_lightning.slots import Exit

DTYPES = ("fp32", "bf16")


@hydra.main(config_path=CONFIG_DIR, config_name="predict", version_base="1.3")
def job(cfg: DictConfig) -> None:
    try:
        with plain_errors():
            num_bad = predict(plain(cfg))
    except BrokenPipeError:  # nobody reads on, as with `| head`: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if num_bad:
        raise SystemExit(1)


def main() -> None:
    sys.argv[1:] = [with_path_quoted(argument) for argument in sys.argv[1:]]
    compose_or_explain("predict", sys.argv[1:])
    job()


def predict(config: dict[str, Any]) -> int:
    """Answer standard input; returns how many lines could not be read.

    Raises ConfigError, one line per fault, for settings and for a run that cannot answer.
    """
    faults = setting_faults(config)
    if faults:
        raise ConfigError.of(faults)
    import torch

    from eat_lightning.runs import Run

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    answerer = Answerer.of(Run.open(config["run"]), config["exit"], config["dtype"])
    return answer_all(answerer, config["batch"])


def setting_faults(config: dict[str, Any]) -> list[str]:
    faults = []
    if not config["run"]:
        faults.append("run must name the folder of a finished run: run=outputs/...")
    for key in ("batch", "threads"):
        value = config[key]
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not whole and (key, value) != ("threads", None):
            faults.append(f"{key} must be 1 or more, got {value!r}")
    if config["dtype"] not in DTYPES:
        faults.append(f"dtype must be one of {', '.join(DTYPES)}, got {config['dtype']!r}")
    return faults


def exit_rule(node: dict[str, Any], encoder: AdaptiveEncoder) -> Exit:
    """The rule a config names, or the encoder's own with other settings; None changes nothing. A
    rule named without layers looks at each of the encoder's early heads."""
    from inspect import signature

    from eat_lightning.config import target
    from eat_lightning.heads import slot_faults
    from eat_lightning.settings import changed
    from eat_lightning.slots import spec

    last, heads = encoder.shape.num_layers, encoder.head["layers"]
    named = node.get("_target_") and node.get("layers") is None
    if named and "layers" in signature(target(node)).parameters:
        node = node | {"layers": [layer for layer in heads if layer < last]}
    try:
        rule = changed("exit", spec("exit", encoder.exit), node, last)
    except ValueError as error:
        raise ConfigError.of(str(error).split("; ")) from None
    faults = slot_faults(rule, heads, last, encoder.num_labels)
    if faults:
        raise ConfigError.of(faults)
    return rule


@dataclass
class Answerer:
    """A run's model, ready to answer lines."""

    encoder: AdaptiveEncoder
    tokenizer: Any
    columns: Sequence[str]
    labels: Sequence[str]  # empty for a regression
    max_length: int
    dtype: str

    @classmethod
    def of(cls, run: Any, exit: dict[str, Any], dtype: str) -> Answerer:
        task = run.task
        encoder, labels = run.model()
        encoder.exit = exit_rule(exit, encoder)
        limit = run.config["data"].get("max_length") or task.max_length
        return cls(
            encoder,
            run.tokenizer(),
            task.columns,
            labels if encoder.num_labels > 1 else [],
            min(limit, encoder.shape.max_length),
            dtype,
        )

    def __call__(self, lines: list[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        return answer_lines(lines, first, self.columns, self.answer)

    def answer(self, texts: list[list[str]]) -> list[dict[str, Any]]:
        import torch

        from eat_lightning.packed import Batch

        encoded = self.tokenizer(
            *map(list, zip(*texts, strict=True)),
            truncation="longest_first" if len(self.columns) == 2 else True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        batch = Batch.from_lists(encoded["input_ids"], encoded.get("token_type_ids"))
        bf16 = self.dtype == "bf16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            trace = self.encoder(batch)
        return described(trace, self.labels)


def described(trace: Trace, labels: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of each example; confidence is the largest calibrated probability."""
    from eat_lightning.exit._reason import Reason

    logits_BC = trace.logits_BC.float().numpy()
    reasons = [Reason(code).label for code in trace.reason_B.tolist()]
    return said(logits_BC, trace.depth_B.tolist(), reasons, trace.retention_B.tolist(), labels)


if __name__ == "__main__":
    main()
