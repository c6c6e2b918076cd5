"""The steps of an adaptation of a cross-encoder, from queries with candidates to a folder.

Shapes: B pairs of all lists, Q lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
from jinja2 import Template

from eat_lightning.bundle.adapted import AboutLists, holds_for
from eat_lightning.bundle.bundle import CERTIFICATE, Bundle, writing
from eat_lightning.bundle.kernels import in_kernels
from eat_lightning.bundle.original import Original
from eat_lightning.bundle.rerank import rerank
from eat_lightning.data.query_lists import read_query_lists
from eat_lightning.deploy.adapt.costs import tell_costs
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.factors import find_factors
from eat_lightning.deploy.adapt.folder import copy_classifier
from eat_lightning.deploy.adapt.forms import deployed_original
from eat_lightning.deploy.adapt.lists import QueryLists
from eat_lightning.deploy.adapt.plan import ListSettings
from eat_lightning.deploy.adapt.run import check_encoder, splits_of
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.errors import ConfigError
from eat_lightning.files import write_text
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.progress import bar
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.claim import Claim, holding
from eat_lightning.record.dial import Budget, Dial, dtype_of
from eat_lightning.record.list_fit import fit_lists
from eat_lightning.record.list_losses import layers_share, lost_Q, swapped_at_most, swapped_Q
from eat_lightning.record.passes import record
from eat_lightning.record.point import Dtype, Point
from eat_lightning.record.record import Record
from eat_lightning.record.timing import keep_kernels, time_interleaved, undisturbed
from eat_lightning.runs.card import front_matter
from eat_lightning.weights.exits import save_exits
from eat_lightning.weights.factors import save_factors
from eat_lightning.weights.files import weights_digest

TIMED = 10  # lists
CHOSEN_ON = ("select", "certify")
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
CARD = Path(__file__).with_name("list_card.md")


@dataclass(frozen=True)
class ListResult:
    """A point that was certified, and what was found on the certificate's lists.

    Args:
        point: in the dtype that is the fastest by what was chosen on.
        lost: share of the original's best that are not returned, in mean over lists.
        swapped: share of the pairs of returned candidates that the original orders otherwise.
        swapped_at_most: its bound, at the same confidence.
        cost: tokens times layers as a share of all.
        ms: of a list, by form.
    """

    plan: ListSettings
    point: Point
    lost: float
    swapped: float
    swapped_at_most: float
    num_lists: int
    cost: float
    ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def guarantee(self) -> str:
        plan = self.plan
        share = f"at most {100 * (1 - plan.agree):.3g} % of the original's best {plan.keep}"
        return f"with {100 * plan.confidence:g} % confidence {share} are lost on average"

    @property
    def in_order(self) -> str:
        """Say in one sentence how far the order of what is returned is the original's."""
        return (
            f"Of the pairs of returned candidates {100 * self.swapped:.2f} % stand in another "
            f"order than the original's, and with {100 * self.plan.confidence:g} % confidence "
            f"at most {100 * self.swapped_at_most:.2f} %."
        )

    @property
    def won(self) -> str:
        """Say in one sentence what was won."""
        ms = self.ms
        times = ms["transformers"] / ms["lists"]
        return (
            f"{times:.1f} times as fast as transformers ({ms['lists']:.0f} instead of "
            f"{ms['transformers']:.0f} ms a list, {ms['all layers']:.0f} with all layers, in "
            f"{self.point.dtype}), and {self.guarantee}: {100 * self.lost:.2f} % were, of "
            f"{self.num_lists:,} lists."
        )


def adapt_lists(plan: ListSettings, given: Sequence[Mapping[str, Any]] | None = None) -> ListResult:
    """Write the folder `plan.to`. ConfigError, in one line, for what cannot be adapted.

    Args:
        given: dicts of `query` and `candidates`, in place of the file that the plan names.
    """
    keep_kernels()
    original = Original.open(plan.model, plan.max_length, lists=True)
    found = read_query_lists(plan.queries if given is None else given)
    lists = QueryLists.of(found, plan.keep)
    parts = lists.parts(plan.shares) if len(lists) else {}
    check_enough(lists, parts, plan)
    work = Work.open(Path(plan.to), identity(plan, original, lists))
    pairs = {part: lists.pairs_of(rows) for part, rows in parts.items()}
    texts = lists.texts
    rows_of = {part: rows_B for part, (rows_B, _) in pairs.items()}
    splits = splits_of(texts, rows_of, original, work.folder)
    announce(plan, original, lists, parts, splits, work.folder)
    encoder = original.encoder(2)
    check_encoder(encoder, original, splits["select"])
    find_factors(encoder, splits["learn"], work.folder)
    learn_exits(encoder, splits, plan.heads, work.folder, plan.least_steps)
    select, certify = (ListPart(part, splits[part], pairs[part][1]) for part in CHOSEN_ON)
    kernels: dict[Dtype, AdaptiveEncoder] = {each: in_kernels(encoder, each) for each in DTYPES}
    dial = fastest(plan, original, kernels, select, work)
    whole = dial.points[0].point
    wanted_B = original_scores(certify, original, work)
    found = certificate_of(plan, dial, certify.record(kernels[whole.dtype], wanted_B, plan.keep))
    points = {"transformers": None, "all layers": whole, "lists": found.point}
    result = replace(found, ms=timed(plan, original, kernels, select, points))
    write(result, original, encoder, lists)
    work.remove()
    return result


def certificate_of(plan: ListSettings, dial: Dial, record: Record) -> ListResult:
    """Certify the cheapest point that holds. ConfigError where none does."""
    points = [each.point for each in dial.points[1:]]  # the first drops nobody
    found = certified(points, record, plan.claim)
    if not found:
        raise ConfigError(
            f"agree={plan.agree:g}: no schedule that drops candidates keeps the original's best "
            f"{plan.keep}: nothing was written"
        )
    trace = record.replay(found[-1])
    found_Q = swapped_Q(record, trace)
    return ListResult(
        plan,
        found[-1],
        lost=float(lost_Q(record, trace).mean()),
        swapped=float(found_Q.mean()),
        swapped_at_most=swapped_at_most(found_Q, plan.confidence, len(points)),
        num_lists=len(found_Q),
        cost=layers_share(record, trace),
    )


def certified(points: Sequence[Point], record: Record, claim: Claim) -> list[Point]:
    """Test points one after another, from strict to lax, until one fails; returns those that hold.
    The claim bounds the mean over lists of what each loses."""
    losses_TQ = [lost_Q(record, record.replay(point)) for point in points]
    p_T = claim.p_values(np.array(losses_TQ).reshape(len(points), -1), binary=False)
    return [points[t] for t in holding(range(len(points)), lambda t: float(p_T[t]), claim.error)]


def identity(plan: ListSettings, original: Original, lists: QueryLists) -> dict[str, Any]:
    """Settings that an unfinished adaptation must share with the call that goes on."""
    rows = hashlib.sha256(repr(lists).encode("utf-8", "surrogatepass")).hexdigest()
    settings = plan.model_dump(include={"max_length", "shares", "least_steps", "heads"})
    return settings | {"weights": weights_digest(original.folder), "rows": rows}


def check_enough(lists: QueryLists, parts: Mapping[str, np.ndarray], plan: ListSettings) -> None:
    """ConfigError where too few lists are left for what is demanded."""
    needed = plan.claim.needed(binary=False)
    if len(parts.get("certify", ())) < needed:
        total = int(np.ceil(needed / plan.shares[2]))
        raise ConfigError(
            f"queries: {len(lists):,} distinct ones with more than {plan.keep} candidates are too "
            f"few: agree={plan.agree:g} at confidence={plan.confidence:g} takes {total:,} or more"
        )


def announce(
    plan: ListSettings,
    original: Original,
    lists: QueryLists,
    parts: Mapping[str, np.ndarray],
    splits: Mapping[str, Any],
    scratch: Path,
) -> None:
    """Print what will be done, time and disk. ConfigError where the disk is too small."""
    sizes = {part: f"{len(rows):,}" for part, rows in parts.items()}
    kind, layers = original.config["model_type"], original.num_layers
    ordered = "a score" if original.column is None else "the logit of entailment"
    print(
        f"{plan.model}: {kind}, {layers} layers, {ordered}\n"
        f"queries: {lists.line}\n"
        f"parts: {sizes['learn']} lists for learning heads, {sizes['select']} for choosing, "
        f"{sizes['certify']} for the certificate",
        flush=True,
    )
    turns = 1.5 * min(TIMED, len(parts["select"])) * plan.times.repeats  # half of them warm up
    timed = 2 * turns * len(splits["select"]) / len(parts["select"])  # transformers, ours, lists
    tell_costs(plan, original, splits, scratch, timed, copies=0, kept=1)


@dataclass(frozen=True)
class ListPart:
    """Pairs of some lists, and the number of each pair's list."""

    name: str
    split: Any
    list_B: np.ndarray

    def record(self, encoder: AdaptiveEncoder, original_B: np.ndarray, keep: int) -> Record:
        """What all heads say, beside the original's scores."""
        found = record(encoder, self.split, title=f"{dtype_of(encoder)}, {self.name}")
        return replace(found, labels=original_B, group_B=self.list_B, keep=keep)


def fastest(
    plan: ListSettings,
    original: Original,
    kernels: Mapping[Dtype, AdaptiveEncoder],
    select: ListPart,
    work: Work,
) -> Dial:
    """The dial of the dtype that is chosen by the time of all layers, and by the cost that is
    expected: that of the laxest point that loses at most half of what may be lost."""
    wanted_B = original_scores(select, original, work)
    dials = {
        dtype: fit_lists(select.record(encoder, wanted_B, plan.keep), dtype)
        for dtype, encoder in kernels.items()
    }
    whole = {dtype: dial.points[0].point for dtype, dial in dials.items()}
    ms = timed(plan, original, kernels, select, whole)
    half = Budget(1 - (1 - plan.agree) / 2, "agree")
    return dials[min(dials, key=lambda dtype: dials[dtype].at(half).cost * ms[dtype])]


def original_scores(part: ListPart, original: Original, work: Work) -> np.ndarray:
    """The original's scores, by transformers; kept."""
    theirs = work.trace(f"original {part.name}", part.split, deployed_original(original).answers)
    return theirs.logits_BC[:, 0]


def timed(
    plan: ListSettings,
    original: Original,
    kernels: Mapping[Dtype, AdaptiveEncoder],
    part: ListPart,
    points: Mapping[Any, Point | None],
) -> dict[Any, float]:
    """Milliseconds of a list, in median, at each point. None: by transformers."""
    rows = [
        np.flatnonzero(part.list_B == number) for number in range(min(TIMED, part.list_B[-1] + 1))
    ]
    batches = [part.split.batch(rows_B) for rows_B in rows]
    inputs = [original.inputs(batch) for batch in batches]

    def ours(point: Point) -> Any:
        encoder, counts = kernels[point.dtype], point.counts or {}
        return lambda batch: rerank(encoder, batch, np.zeros(batch.size, int), counts)

    settings: dict[Any, tuple[Any, list[Any]]] = {
        name: (original.logits, inputs) if point is None else (ours(point), batches)
        for name, point in points.items()
    }
    turns = len(settings) * plan.times.repeats * len(rows)
    with undisturbed(plan.threads), bar("times", turns) as advance:
        took = time_interleaved(settings, plan.times.repeats, 2, advance)
    return {name: float(median(times_RI.mean(0))) for name, times_RI in took.items()}


def write(
    result: ListResult, original: Original, encoder: AdaptiveEncoder, lists: QueryLists
) -> None:
    """Write weights as they are, heads, schedule, certificate and card."""
    plan = result.plan
    with writing(plan.to) as bundle:
        folder = bundle.folder
        copy_classifier(original, folder)
        save_exits(encoder, folder)
        if result.point.dtype == "int8":
            save_factors(encoder, folder)
        AboutLists(plan.keep, result.point, original.max_length, original.column).write(folder)
        certificate_for(result, bundle).write(folder)
        task = "text-ranking" if original.column is None else "zero-shot-classification"
        front = front_matter(plan.model, original.folder / "README.md", task)
        write_text(bundle.card, card(result, lists, front))


def certificate_for(result: ListResult, bundle: Bundle) -> Certificate:
    """The certificate of a bundle whose other files are written."""
    names = ("lost", "swapped", "swapped_at_most", "num_lists", "cost", "ms")
    seen = {name: getattr(result, name) for name in names}
    claims, binding = [result.plan.claim], holds_for(bundle, result.point)
    return Certificate(CERTIFICATE, claims, result.guarantee, binding, seen=seen)


def card(result: ListResult, lists: QueryLists, front: str) -> str:
    """Fill the model card."""
    template = Template(CARD.read_text("utf-8"), trim_blocks=True, lstrip_blocks=True)
    title = Path(result.plan.model).resolve().name
    counts = result.point.counts
    return template.render(front=front, title=title, result=result, counts=counts, lists=lists)
