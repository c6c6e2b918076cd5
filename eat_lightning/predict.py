"""`python -m eat_lightning.predict run=<folder> < lines`: JSON lines out, in order, streaming."""

from __future__ import annotations

import json
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
from eat_lightning.onnx_runner import answer_all, parse, said

if TYPE_CHECKING:
    from eat_lightning.encoder import AdaptiveEncoder, Trace
    from eat_lightning.slots import Exit


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
    how = config["exit"], config["dtype"], config["certificate"]
    answerer = Answerer.of(Run.open(config["run"]), *how)
    return answer_all(answerer, config["batch"])


def setting_faults(config: dict[str, Any]) -> list[str]:
    from eat_lightning.certificate import DTYPES

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


def full_depth(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    from eat_lightning.baselines import with_slots
    from eat_lightning.exit.never import Never

    return with_slots(encoder, exit=Never())


def certified(
    run: Any, name: str, exit: dict[str, Any], dtype: str, encoder: AdaptiveEncoder
) -> dict[str | None, AdaptiveEncoder]:
    """The encoder with a certificate's methods, by source of data; None is what any other source
    gets. ConfigError where the certificate holds for another combination."""
    from eat_lightning.baselines import with_slots
    from eat_lightning.certificate import DTYPES, POLICIES, Certificate, combination
    from eat_lightning.slots import build, spec

    found: dict[str | None, AdaptiveEncoder] = {None: full_depth(encoder)}
    for source, held in Certificate.by_source(run, name).items():
        methods = {slot: build(slot, made) for slot, made in held.policies.items()}
        body = with_slots(encoder, **methods)
        body.exit = exit_rule(exit, body)
        policies = {slot: spec(slot, getattr(body, slot)) for slot in POLICIES}
        held.check(combination(run, policies, DTYPES[dtype], "cpu"))
        found[source] = body
    return found


@dataclass
class Answerer:
    """A run's model, ready to answer lines. encoders: by source of data; None is for any other."""

    encoders: dict[str | None, AdaptiveEncoder]
    tokenizer: Any
    columns: Sequence[str]
    labels: Sequence[str]  # empty for a regression
    max_length: int

    @classmethod
    def of(
        cls, run: Any, exit: dict[str, Any], dtype: str, certificate: str | None = None
    ) -> Answerer:
        from eat_lightning.baselines import in_dtype

        task = run.task
        encoder, labels = run.model()
        encoder = in_dtype(encoder, dtype)
        if certificate is None:
            encoder.exit = exit_rule(exit, encoder)
            encoders: dict[str | None, AdaptiveEncoder] = {None: encoder}
        else:
            encoders = certified(run, certificate, exit, dtype, encoder)
        limit = run.config["data"].get("max_length") or task.max_length
        return cls(
            encoders,
            run.tokenizer(),
            task.columns,
            labels if encoder.num_labels > 1 else [],
            min(limit, encoder.shape.max_length),
        )

    def __call__(self, lines: list[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        answers: list[dict[str, Any]] = []
        texts: dict[str | None, dict[int, list[str]]] = {}  # by source, then by place
        for place, line in enumerate(lines):
            answers.append({})
            try:
                found = parse(line, self.columns)
                source = source_of(line) if len(self.encoders) > 1 else None
                known = source if source in self.encoders else None
                texts.setdefault(known, {})[place] = found
            except ValueError as error:
                answers[place] = {"line": first + place, "error": str(error)}
        for source, placed in texts.items():
            given = self.answer([*placed.values()], source)
            for place, answer in zip(placed, given, strict=True):
                answers[place] = answer
        return answers

    def answer(self, texts: list[list[str]], source: str | None = None) -> list[dict[str, Any]]:
        import torch

        from eat_lightning.packed import Batch

        encoded = self.tokenizer(
            *map(list, zip(*texts, strict=True)),
            truncation="longest_first" if len(self.columns) == 2 else True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        batch = Batch.from_lists(encoded["input_ids"], encoded.get("token_type_ids"))
        with torch.inference_mode():
            trace = self.encoders[source](batch)
        return described(trace, self.labels)


def described(trace: Trace, labels: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of each example; confidence is the largest calibrated probability."""
    from eat_lightning.exit._reason import Reason

    logits_BC = trace.logits_BC.float().numpy()
    reasons = [Reason(code).label for code in trace.reason_B.tolist()]
    return said(logits_BC, trace.depth_B.tolist(), reasons, trace.retention_B.tolist(), labels)


def source_of(line: bytes) -> str | None:
    """Where a line that `parse` took says it comes from."""
    text = line.decode("utf-8-sig", errors="replace")
    source = json.loads(text).get("source") if text.lstrip().startswith("{") else None
    return source if isinstance(source, str) else None


if __name__ == "__main__":
    main()
