"""The folder of an adapted classifier, written beside its place and put there as one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template

from eat_lightning.answer_kind import SINGLE, AnswerKind, Score
from eat_lightning.bundle.adapted import AboutAdapted, graphs_of, holds_for, versions, write_dial
from eat_lightning.bundle.bundle import CERTIFICATE, Bundle, writing
from eat_lightning.bundle.canaries import NUM_CANARIES, Canaries
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.graphs.plan import package_faults
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.open import answered_canaries
from eat_lightning.bundle.original import Original
from eat_lightning.data.batching import spread_rows
from eat_lightning.data.unlabelled import Texts
from eat_lightning.deploy.adapt.forms import Forms
from eat_lightning.deploy.adapt.plan import FEWER_TIMES, AdaptSettings
from eat_lightning.deploy.adapt.static_graph import write_static_graph
from eat_lightning.errors import ConfigError
from eat_lightning.files import write_text
from eat_lightning.machine import processor
from eat_lightning.model.trace import Trace
from eat_lightning.monitor.reference import LEAST, Reference
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.runs.card import front_matter
from eat_lightning.weights.exits import save_exits
from eat_lightning.weights.factors import save_factors
from eat_lightning.weights.files import SAFE, weight_files

UNSURE = 0.05  # share of the certificate's texts, the least sure, that never become canaries
MOST_CHANGES = 3  # pairs of classes that a person is told
CARD = Path(__file__).with_name("card.md")
TOKENIZER = ("tokenizer*", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json")
CROSS_ENCODER = ("modules.json", "*sentence_*.json")  # of sentence-transformers: its activation


@dataclass(frozen=True)
class AdaptResult:
    """A finished search.

    Args:
        splits, original_answers: parts of the texts, and the original's logits there.
    """

    plan: AdaptSettings
    original: Original
    texts: Texts
    splits: Mapping[str, Any]
    original_answers: Mapping[str, np.ndarray]
    candidates: list[Measured]
    scales: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The original's name, without the folders above it."""
        return Path(self.plan.model).resolve().name

    @property
    def first(self) -> Measured:
        """The original as it is."""
        return self.candidates[0]

    @cached_property
    def chosen(self) -> Measured:
        """The fastest that is certified. ConfigError where none is."""
        certified = [candidate for candidate in self.candidates if candidate.holds]
        if not certified:
            raise ConfigError(f"agree={self.plan.agree:g}: {self.nearest}: nothing was written")
        return min(certified, key=self.ms)

    @property
    def trace(self) -> Trace:
        """The answers of the chosen candidate to the texts of the certificate."""
        assert self.chosen.trace is not None
        return self.chosen.trace

    @property
    def is_watchable(self) -> bool:
        """True where drift can be told: of one class each, by one model, from texts enough."""
        single, point = self.original.same.kind.problem_type == SINGLE, self.chosen.point
        is_one = point.before is None or point.falls_back
        return single and is_one and len(self.trace) >= LEAST

    def ms(self, candidate: Measured) -> float:
        return candidate.ms[str(self.plan.batch)]

    @property
    def nearest(self) -> str:
        """Tell why nothing is certified."""
        tested = [c for c in self.candidates if c.tested]
        if not tested:
            return "nothing faster than the original keeps it on the texts for choosing"
        found = tested[0]
        count = next(count for count in found.tested or [] if not count.holds)
        return (
            f"{found.name} changes {count.changed} of {count.num:,} answers, "
            f"and {count.allowed} are allowed"
        )

    @property
    def won(self) -> str:
        """Say in one sentence what was won."""
        chosen = self.chosen
        count = (chosen.tested or [])[0]
        batch = self.plan.batch
        how = "one text at a time" if batch == 1 else f"in batches of {batch}"
        return (
            f"{chosen.name}: {self.times} as fast as transformers "
            f"({self.ms(chosen):.1f} ms instead of {self.ms(self.first):.1f} ms per text, {how}), "
            f"and {self.guarantee}: {count.changed} of {count.num:,} did.{self.without_exits}"
        )

    @property
    def without_exits(self) -> str:
        """Say why the chosen candidate has no exits; empty where it has some."""
        if not self.chosen.point.is_static:
            return ""
        exits = [each for each in self.candidates if each.point.has_exits and each.ms]
        failed = [x for x in exits if not all(c.holds for c in x.tested or x.counts)]
        if any(self.ms(each) < self.ms(self.chosen) for each in failed):
            return " Early exits were faster, but changed too many answers; more texts may help."
        return " Early exits made it no faster."

    @property
    def trial(self) -> str:
        """Say that so few texts were timed that another candidate may be faster; empty where they
        were enough."""
        times = self.plan.times
        if times.examples > FEWER_TIMES["examples"]:
            return ""
        return (
            f"This is a trial: {times.examples} texts were timed, so that another "
            "candidate may be faster. The guarantee holds all the same."
        )

    @property
    def again(self) -> str:
        """Say how many texts were answered again in a higher precision; empty where none can be."""
        point, depth_N = self.chosen.point, self.trace.depth_B
        if point.before is None or not point.falls_back:
            return ""
        num = int((depth_N > self.original.num_layers).sum())
        return (
            f"Answered again in {point.again}: {100 * num / len(depth_N):.1f} % ({num:,} of "
            f"{len(depth_N):,}), those of which {point.before.dtype} is least sure."
        )

    @property
    def times(self) -> str:
        """Word how many times as fast as the original the chosen candidate is."""
        ratio = f"{self.ms(self.first) / self.ms(self.chosen):.1f} times"
        _, *ends = self.chosen.speed_up.get(str(self.plan.batch), [])
        return f"{ratio} ({' to '.join(f'{end:.1f}' for end in ends)})" if ends else ratio

    @property
    def changes(self) -> str:
        """Say which classes changed into which, on the texts of the certificate; empty where none
        did, or where a text has not one class."""
        found = self.original.same.class_changes(
            self.original_answers["certify"], self.trace.logits_BC
        )
        if not found:
            return ""
        most = found.most_common(MOST_CHANGES)
        parts = ", ".join(f"{before} to {after} {num}" for (before, after), num in most)
        line = f"Changed answers: {parts}{' and others' if len(found) > len(most) else ''}."
        alone = [was for (was, _), _ in most if self.may_be_claimed(was)]
        if alone:
            setting = f"per_class={{{alone[0]}:{self.plan.agree:g}}}"
            line += f" {alone[0]} has no guarantee of its own; {setting} adds one."
        return line

    def may_be_claimed(self, name: str) -> bool:
        """True of a class without a claim of its own that has texts enough for one."""
        claims, certify_NC = self.plan.claims, self.original_answers["certify"]
        num = int(self.original.same.groups(certify_NC)[name].sum())
        return name not in {claim.of for claim in claims} and num >= claims[0].needed()

    @property
    def guarantee(self) -> str:
        """What is certified, in words."""
        every, *others = self.plan.claims
        parts = [f"at most {100 * every.level:.3g} % of {self.original.same.changes}"]
        parts += [f"{100 * claim.level:.3g} % of those of {claim.of}" for claim in others]
        return f"with {100 * every.confidence:g} % confidence {', '.join(parts)}"


def write_folder(
    result: AdaptResult, forms: Forms, small: Forms | None, table: str, page: str
) -> None:
    """Write weights as they are, exits, graphs, certificate, card and page.

    Args:
        small: forms of the first model of a cascade.
        table: of all candidates, in Markdown.
        page: HTML.
    """
    chosen, columns = result.chosen, result.texts.columns
    with writing(result.plan.to) as bundle:
        folder = bundle.folder
        if chosen.point.before is not None and not chosen.point.falls_back:
            assert small is not None
            first = replace(chosen.point.before, weights="")
            about = write_classifier(small, first, columns, bundle.before)
            about.write(bundle.before.folder)
        about = replace(
            write_classifier(forms, chosen.point, columns, bundle),
            threads=result.plan.threads,
            scales=dict(result.scales),
        )
        about.write(folder)
        write_dial(bundle, result.candidates)
        certificate = certificate_of(bundle, result)
        certificate.write(folder)
        if result.is_watchable:
            windows = about.long_texts.described(about.max_length)
            Reference.of(result.trace, certificate.holds_for, windows).write(folder)
        canaries_of(result).write(folder)
        if (found := answered_canaries(Model.open(folder))).changed:  # its graphs were rewritten
            raise ConfigError(f"to={result.plan.to}: as it is written, {found}")
        if "onnx" in result.plan.engines and not package_faults():
            write_static_graph(result.original, bundle)
        write_text(bundle.card, card(result, about, table))
        write_text(bundle.page, page)


def certificate_of(bundle: Bundle, result: AdaptResult) -> Certificate:
    """The certificate of a bundle whose other files are written."""
    depth = result.chosen.depth
    return Certificate(
        CERTIFICATE,
        result.plan.claims,
        result.guarantee,
        holds_for(bundle, result.chosen.point),
        tallies=[*(result.chosen.tested or [])],
        seen={"depth": depth, "num_examples": len(result.splits["certify"])},
    )


def canaries_of(result: AdaptResult) -> Canaries:
    """Some texts of the certificate, with the logits that were certified.

    The least sure ones are left out. Some of them are ties of two answers, which rounding decides:
    one way alone, and another way in a batch.
    """
    split, logits_NC = result.splits["certify"], result.trace.logits_BC
    surer = surer_rows(result.original.same.kind, logits_NC)
    rows = surer[spread_rows(len(surer), NUM_CANARIES)]
    texts = [split.text(row) for row in rows]
    return Canaries.of(texts, result.texts.columns, logits_NC[rows])


def surer_rows(kind: AnswerKind, logits_NC: np.ndarray) -> np.ndarray:
    """Return the rows of all answers but the least sure ones. A score is unsure near a cut, and
    never where there are none."""
    margin_N = kind.margin(logits_NC)
    if isinstance(kind, Score) and kind.cuts:
        margin_N = np.abs(logits_NC[:, :1] - np.array(kind.cuts)).min(-1)
    unsure = round(UNSURE * len(margin_N)) if np.isfinite(margin_N).all() else 0
    return np.sort(np.argsort(margin_N, kind="stable")[unsure:])


def write_classifier(
    forms: Forms, point: Point, columns: list[str], bundle: Bundle
) -> AboutAdapted:
    """Write a classifier's files, its exits and its graphs. Returns what bundle.json says."""
    folder = bundle.folder
    folder.mkdir(parents=True, exist_ok=True)
    original = forms.original
    copy_classifier(original, folder)
    own = {"graphs": point}
    if point.before is not None and point.falls_back:
        own["first graphs"] = point.before
    for each in own.values():
        if each.alone.has_exits:
            save_exits(each.on(forms.encoder), folder)
        if each.dtype == "int8":
            save_factors(forms.encoder, folder)
    for name, at in graphs_of(point).items():
        copy_graphs(forms.graphs(own[name]), folder, bundle.graphs(at.engine, at.dtype))
    return AboutAdapted(
        columns=columns,
        labels=list(original.same.labels),
        answer=original.same.kind.spec(),
        max_length=original.max_length,
        long=asdict(original.long),
        point=point,
    )


def copy_graphs(graphs: GraphModel, folder: Path, to: Path) -> None:
    """Copy graphs into the folder of a classifier, whose weights those in fp32 share."""
    from eat_lightning.bundle.graphs.weights import copy_sharing  # brings onnx

    has_same = graphs.about["dtype"] == "fp32"
    copy_sharing(graphs.graphs, to, weight_files(folder) if has_same else [])


def copy_classifier(original: Original, folder: Path) -> None:
    """Copy what transformers opens; weights of the older form are written as safetensors."""
    shutil.copyfile(original.folder / "config.json", folder / "config.json")
    for pattern in (*TOKENIZER, *CROSS_ENCODER):
        for path in original.folder.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    files = weight_files(original.folder)
    if files[0].suffix != ".safetensors":
        original.model.save_pretrained(folder)
        return
    for path in [*files, *original.folder.glob(f"{SAFE}.index.json")]:
        shutil.copyfile(path, folder / path.name)  # without the rights of a file of one user


def long_line(original: Original) -> str:
    """Say how texts of more tokens than are read at once are answered."""
    how = {"refuse": "are refused", "cut": "lose the rest, and the answer says so"}
    windows = f"are read in windows {original.long.described(original.max_length)}"
    return f"of more than {original.max_length} tokens {how.get(original.long.mode, windows)}"


def card(result: AdaptResult, about: AboutAdapted, table: str) -> str:
    """Fill the model card. table: of all candidates, in Markdown."""
    template = Template(CARD.read_text("utf-8"), trim_blocks=True, lstrip_blocks=True)
    text = template.render(
        front=front_matter(result.plan.model, result.original.folder / "README.md"),
        title=f"{result.title}, adapted",
        original=f"{result.title}, transformers, fp32, {result.ms(result.first):.2f} ms per text",
        won=result.won,
        again=result.again,
        changes=result.changes,
        trial=result.trial,
        chosen=f"{result.chosen.name}, {result.ms(result.chosen):.2f} ms per text",
        guarantee=result.guarantee,
        counts=result.chosen.tested,
        texts=result.texts.line,
        long=long_line(result.original),
        machine=processor(),
        table=table,
        threads=result.plan.threads,
        engine=", ".join(f"{k} {v}" for k, v in versions(about.point).items()),
    )
    return text + "\n"
