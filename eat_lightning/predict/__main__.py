"""`python -m eat_lightning.predict run=<folder> < lines`: JSON lines out, in order, streaming."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import target
from eat_lightning.errors import ConfigError
from eat_lightning.infer.onnx_runner import answer_all, parse, said

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Exit, Policy
    from eat_lightning.model.encoder import AdaptiveEncoder, Trace
    from eat_lightning.model.packed import Batch


BACKENDS = ("torch", "onnx")


def predict(config: dict[str, Any]) -> int:
    """Answer standard input; returns how many lines could not be read.

    Raises ConfigError, one line per fault, for settings and for a run that cannot answer.
    """
    faults = setting_faults(config)
    if not isinstance(config["pool"], bool):
        faults.append(f"pool must be true or false, got {config['pool']!r}")
    if config["backend"] == "onnx":
        from eat_lightning.infer.exported import option_faults

        faults += option_faults(config)
    if faults:
        raise ConfigError.of(faults)
    if config["backend"] == "onnx":
        return answer_all(exported(config), config["batch"])
    import torch

    from eat_lightning.model.policies import policies_of
    from eat_lightning.runs.run import Run

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    how = config["exit"], config["dtype"], config["certificate"], policies_of(config["policy"])
    answerer = Answerer.of(Run.open(config["run"]), *how, config["prepack"])
    if config["pool"]:
        from eat_lightning.predict.scoring import answer_file

        return answer_file(answerer, sys.stdin.fileno(), sys.stdout, config["batch"])
    return answer_all(answerer, config["batch"])


def exported(config: dict[str, Any]) -> Any:
    """The export that config["run"] names, ready to answer."""
    from eat_lightning.infer.exported import Export, ExportAnswerer
    from eat_lightning.model.policies import policies_of

    export = Export.open(config["run"], config["threads"])
    return ExportAnswerer.of(export, config["certificate"], policies_of(config["policy"]))


def setting_faults(config: dict[str, Any]) -> list[str]:
    """Of what every command that answers can be told."""
    from eat_lightning.infer.precision import prepack_faults
    from eat_lightning.runs.certificate import DTYPES

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
    backend = config.get("backend", "torch")
    if backend not in BACKENDS:
        faults.append(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return [*faults, *prepack_faults(config["prepack"], config["dtype"])]


def exit_rule(node: dict[str, Any], encoder: AdaptiveEncoder) -> Exit:
    """The rule a config names, or the encoder's own with other settings; None changes nothing. A
    rule named without layers looks at each of the encoder's early heads."""
    from inspect import signature

    from eat_lightning.measure.settings import changed
    from eat_lightning.model.contracts import spec
    from eat_lightning.model.heads import slot_faults

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


def check_policies(run: Any, encoder: AdaptiveEncoder, labels: Sequence[str]) -> None:
    """ConfigError with what of a run does not go with the encoder's policies."""
    from eat_lightning.model.policies import policy_faults

    faults = policy_faults(encoder.policies, encoder, labels, run.folder / "model")
    if faults:
        raise ConfigError.of(faults)


def at_full_depth(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Nobody leaves early, and the answers say `fallback`."""
    from eat_lightning.methods.exit.never import Never
    from eat_lightning.methods.policy.full_depth import FullDepth
    from eat_lightning.model.encoder import with_slots

    return with_slots(encoder, exit=Never(), policies=(FullDepth(), *encoder.policies))


def certified(
    run: Any,
    name: str,
    exit: dict[str, Any],
    dtype: str,
    encoder: AdaptiveEncoder,
    policies: Sequence[Policy] | None,
    form: str,
) -> dict[str | None, AdaptiveEncoder]:
    """The encoder with a certificate's methods, by source of data; None is what any other source
    gets. policies: None are those the certificate was made with. form: of the encoder's weights.
    ConfigError where it holds for another combination, policies included."""
    from eat_lightning.model.contracts import build, spec
    from eat_lightning.model.encoder import with_slots
    from eat_lightning.model.policies import specs_of
    from eat_lightning.runs.certificate import DTYPES, POLICIES, Certificate, combination

    found: dict[str | None, AdaptiveEncoder] = {None: at_full_depth(encoder)}
    for source, held in Certificate.by_source(run, name).items():
        methods = {slot: build(slot, made) for slot, made in held.policies.items()}
        asked = held.asked() if policies is None else policies
        body = with_slots(encoder, **methods, policies=asked)
        body.exit = exit_rule(exit, body)
        specs: dict[str, Any] = {slot: spec(slot, getattr(body, slot)) for slot in POLICIES}
        specs["policy"] = specs_of(body.policies)
        held.check(combination(run, specs, DTYPES[dtype], "cpu", form=form))
        found[source] = at_full_depth(body) if held.fallback else body
    return found


def form_held(run: Any, name: str | None) -> str | None:
    """The form of weights that a certificate holds for; of those by source that of the first, and
    `certified` refuses one that differs."""
    from eat_lightning.runs.certificate import Certificate

    if name is None:
        return None
    return next(iter(Certificate.by_source(run, name).values())).form


@dataclass
class Answerer:
    """A run's model, ready to answer. encoders: by source of data; None is for any other.

    full_depth: set it at any time: while it is true, whatever starts runs every layer, and says
    `fallback`. Full depth is what any certificate falls back to, so this is no other combination.
    """

    encoders: dict[str | None, AdaptiveEncoder]
    tokenizer: Any
    columns: Sequence[str]
    labels: Sequence[str]  # empty for a regression
    max_length: int
    full_depth: bool = False

    @classmethod
    def of(
        cls,
        run: Any,
        exit: dict[str, Any],
        dtype: str,
        certificate: str | None = None,
        policies: Sequence[Policy] | None = None,
        prepack: bool | None = None,
    ) -> Answerer:
        """policies: in place of the certificate's, or of the run's own (None: as they are).
        prepack: the weights' form, see `forms`; plain ones are freed."""
        from eat_lightning.infer.precision import form_of, in_dtype, in_form

        task = run.task
        form = form_of(prepack, dtype, held=form_held(run, certificate))
        encoder, labels = run.model()
        encoder = in_form(in_dtype(encoder, dtype), form)
        if policies is not None:
            encoder.policies = policies
        if certificate is None:
            encoder.exit = exit_rule(exit, encoder)
            encoders: dict[str | None, AdaptiveEncoder] = {None: encoder}
        else:
            encoders = certified(run, certificate, exit, dtype, encoder, policies, form)
        for body in encoders.values():
            check_policies(run, body, labels)
        limit = run.config.get("data", {}).get("max_length") or task.max_length
        return cls(
            encoders,
            run.tokenizer(),
            task.columns,
            labels if encoder.num_labels > 1 else [],
            min(limit, encoder.shape.max_length),
        )

    def __call__(self, lines: list[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        return answered(lines, first, self.columns, self.answer)

    def answer(
        self, texts: Sequence[Sequence[str]], about: Sequence[Mapping[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """In the order of the texts. about: what is known of each, such as its source or mime."""
        answers: list[dict[str, Any]] = [{} for _ in texts]
        for left in self.stream(texts, about):
            for place, answer in left:
                answers[place] = answer
        return answers

    def stream(
        self, texts: Sequence[Sequence[str]], about: Sequence[Mapping[str, str]] | None = None
    ) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Places and answers of those that left at an exit, as soon as they have."""
        about = [{} for _ in texts] if about is None else about
        for source, places in self.by_source(about).items():
            batch = self.batch([texts[i] for i in places], [about[i] for i in places])
            for rows_G, trace in self.parts(self.encoders[source], batch):
                answers = described(trace, self.labels)
                placed = [places[row] for row in rows_G.tolist()]
                yield [*zip(placed, answers, strict=True)]

    def by_source(self, about: Sequence[Mapping[str, str]]) -> dict[str | None, list[int]]:
        """Places of those that one encoder answers."""
        return places_by(about, self.encoders)

    def batch(self, texts: Sequence[Sequence[str]], about: Sequence[Mapping[str, str]]) -> Batch:
        from eat_lightning.model.packed import Batch

        encoded = self.tokenizer(
            *map(list, zip(*texts, strict=True)),
            truncation="longest_first" if len(self.columns) == 2 else True,
            max_length=self.max_length,
            return_attention_mask=False,
        )
        batch = Batch.from_lists(encoded["input_ids"], encoded.get("token_type_ids"))
        batch.about = about
        return batch

    def parts(self, encoder: AdaptiveEncoder, batch: Batch) -> Iterator[tuple[Any, Trace]]:
        """`encoder.stream`, without gradients only while it runs: whoever takes an answer is not
        to be in that mode."""
        import torch

        body = at_full_depth(encoder) if self.full_depth else encoder
        parts = body.stream(batch)
        while True:
            with torch.inference_mode():
                part = next(parts, None)
            if part is None:
                return
            yield part

    def whole(self, encoder: AdaptiveEncoder, batch: Batch) -> list[tuple[Any, Trace]]:
        """All examples at the last layer, as one part; every head has guessed on the way."""
        import torch

        with torch.inference_mode():
            return [(torch.arange(batch.size), encoder(batch, leave=False))]

    def traced(
        self, texts: list[list[str]], source: str | None = None, leave: bool | None = None
    ) -> Trace:
        """What happens to these texts. `leave` false: nobody leaves early, and every head
        guesses."""
        import torch

        batch = self.batch(texts, [{} for _ in texts])
        with torch.inference_mode():
            return self.encoders[source](batch, leave=leave)


def described(trace: Trace, labels: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of each example; confidence is the largest calibrated probability."""
    logits_BC = trace.logits_BC.float().numpy()
    return said(
        logits_BC, trace.depth_B.tolist(), trace.reasons, trace.retention_B.tolist(), labels
    )


def answered(
    lines: list[bytes],
    first: int,
    columns: Sequence[str],
    answer: Callable[[list[list[str]], list[dict[str, str]]], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """An answer or an error for each line; `answer` gets the texts of those that can be read, and
    what is known of each."""
    answers: list[dict[str, Any]] = []
    places, texts, about = [], [], []
    for place, line in enumerate(lines):
        answers.append({})
        try:
            texts.append(parse(line, columns))
            about.append(about_of(line, columns))
            places.append(place)
        except ValueError as error:
            answers[place] = {"line": first + place, "error": str(error)}
    for place, found in zip(places, answer(texts, about) if texts else [], strict=True):
        answers[place] = found
    return answers


def places_by(
    about: Sequence[Mapping[str, str]], known: Mapping[str | None, Any]
) -> dict[str | None, list[int]]:
    """Places of the examples by their source, where it is a known one; None for the others."""
    found: dict[str | None, list[int]] = {}
    for place, told in enumerate(about):
        source = told.get("source")
        found.setdefault(source if source in known else None, []).append(place)
    return found


def about_of(line: bytes, columns: Sequence[str]) -> dict[str, str]:
    """What a line that `parse` took says of its example besides the text: the texts of a JSON
    object's other keys, such as source and mime."""
    text = line.decode("utf-8-sig", errors="replace")
    content = json.loads(text) if text.lstrip().startswith("{") else {}
    names = {"text", "text_pair", *columns}
    return {k: v for k, v in content.items() if k not in names and isinstance(v, str)}


main = entry("predict", predict)

if __name__ == "__main__":
    main()
