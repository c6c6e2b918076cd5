"""The steps of an adaptation, from a classifier and texts to a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.answer_kind import SINGLE
from eat_lightning.bundle.adapted import SMALL
from eat_lightning.bundle.kernels import early_head
from eat_lightning.bundle.original import Original
from eat_lightning.bundle.trials import PACKAGES
from eat_lightning.data.batching import spread_rows
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, make_split
from eat_lightning.data.unlabelled import Texts, cut, read_texts
from eat_lightning.data.variants import variants
from eat_lightning.deploy.adapt.cascade import FirstModel, check_pair
from eat_lightning.deploy.adapt.costs import tell_costs
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.factors import find_factors
from eat_lightning.deploy.adapt.folder import AdaptResult, write_folder
from eat_lightning.deploy.adapt.forms import (
    Forms,
    absent_engines,
    deployed_original,
    scratch_run,
)
from eat_lightning.deploy.adapt.plan import AdaptSettings
from eat_lightning.deploy.adapt.report import candidates_table, page
from eat_lightning.deploy.adapt.scores import score_scales
from eat_lightning.deploy.adapt.search import Bench, Search
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.errors import ConfigError
from eat_lightning.machine import machine, version_of
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.record.claim import Claim, tallied
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import NAMES
from eat_lightning.record.same_answer import SameAnswer
from eat_lightning.record.timing import keep_kernels
from eat_lightning.record.windows import TextWindows, windows_of
from eat_lightning.weights.files import weights_digest

LATE = {"agree", "confidence", "per_class", "engines", "batch", "times"}  # passes are as they were
BUSY = 1.5  # processes that run, one of them this
CLOSE = 1e-2  # our encoder's logits in fp32 differ from transformers' by less
BENCH = Bench()
KERNELS = 2048  # 7 for each number of tokens and dtype, 0.4 MB each: passes make thousands


def adapt(
    plan: AdaptSettings,
    given: Sequence[Any] | None = None,
    bench: Bench | None = None,
    keep: bool = False,
) -> AdaptResult:
    """Write the folder `plan.to`. ConfigError, in one line, for what cannot be adapted.

    Args:
        given: texts, or pairs of them, in place of the files that the plan names.
        bench: in place of this machine's.
        keep: keeps the scratch folder, for another call with the same `to` once that is deleted.
            Settings in `LATE` may differ there, and passes are not made again.
    """
    bench = bench or BENCH
    keep_kernels(KERNELS)
    given_texts = plan.max_length, plan.tolerance, plan.cuts, plan.long_texts
    original = Original.open(plan.model, *given_texts)
    small = open_small(plan, original) if plan.small else None
    same, claims = original.same, plan.claims
    if unknown := [claim.of for claim in claims[1:] if claim.of not in same.labels]:
        among = f"among {', '.join(same.labels)}" if same.labels else "none, of a score"
        raise ConfigError(f"per_class must name {among}, got {unknown[0]}")
    texts = read_texts(plan.texts if given is None else given, plan.columns, plan.most)
    check_zero_shot(original, len(texts.columns))
    for model in (original, small):
        texts = texts if model is None else texts.read_by(model.reader)
    parts = cut(texts.rows, plan.shares) if len(texts) else {}
    check_enough(len(texts), len(parts.get("certify", ())), plan)
    work = Work.open(Path(plan.to), identity(plan, [original, *([small] if small else [])], texts))
    splits = splits_of(texts, parts, original, work.folder)
    # Times are taken with plan.threads.
    torch.set_num_threads(bench.threads(plan.threads))
    announce(plan, original, texts, splits, work.folder)
    theirs = deployed_original(original)
    answers = {
        part: work.trace(f"original {part}", splits[part], theirs.answers).logits_BC
        for part in ("select", "certify")
    }
    check_classes(answers["certify"], same, claims)
    tell_rare_classes(answers["certify"], same, claims)
    encoder = original.encoder(len(texts.columns))
    check_encoder(encoder, original, splits["select"])
    find_factors(
        encoder, windows_of(splits["learn" if plan.heads.enabled else "select"]), work.folder
    )
    if plan.heads.enabled:
        learn = with_variants(texts, parts["learn"], plan.heads.variants, original, work.folder)
        tokens = {"learn": windows_of(learn), "select": windows_of(splits["select"])}
        learn_exits(encoder, tokens, plan.heads, work.folder, plan.least_steps)
    run = scratch_run(work.folder / "exits-and-all", original, encoder, texts.columns)
    forms = Forms(original, encoder, run, plan.threads)
    timing = plan.batch, plan.threads, plan.times.model_dump()
    first = None if small is None else small_model(small, texts, parts, work, plan, bench)
    search = Search(forms, same, claims, splits, answers, work, *timing, first, bench)
    candidates = search.run(list(plan.engines), plan.heads.enabled)
    result = AdaptResult(plan, original, texts, splits, answers, candidates)
    result = replace(result, scales=scales_of(result, search))
    table = candidates_table(result).markdown()
    write_folder(result, forms, first and first.forms, table, page(result))
    work.close() if keep else work.remove()
    return result


def scales_of(result: AdaptResult, search: Search) -> dict[str, float]:
    """Numbers that bring scores of early exits near the original's, from the texts for choosing."""
    single = result.original.same.kind.problem_type == SINGLE
    if (
        not result.chosen.point.has_exits
        or not single
        or isinstance(result.splits["select"], TextWindows)
    ):
        return {}
    trace = search.trace(result.chosen, "select")
    return score_scales(trace, result.original_answers["select"], result.original.num_layers)


def open_small(plan: AdaptSettings, large: Original) -> Original:
    """Open the first model of a cascade. ConfigError, in one line, where it cannot be one."""
    try:
        given = plan.max_length, plan.tolerance, plan.cuts, plan.long_texts
        small = Original.open(str(plan.small), *given)
    except ConfigError as error:
        raise ConfigError(str(error).replace("model=", "small=", 1)) from None
    check_pair(small, large)
    return small


def small_model(
    small: Original,
    texts: Texts,
    parts: Mapping[str, np.ndarray],
    work: Work,
    plan: AdaptSettings,
    bench: Bench,
) -> FirstModel:
    """Make the first model of a cascade ready."""
    work = Work(work.folder / "small")
    judged = {part: parts[part] for part in ("select", "certify")}
    splits = splits_of(texts, judged, small, work.folder)
    encoder = small.encoder(len(texts.columns))
    check_encoder(encoder, small, splits["select"])
    find_factors(encoder, windows_of(splits["select"]), work.folder)
    run = scratch_run(work.folder / "run", small, encoder, texts.columns)
    forms = Forms(small, encoder, run, plan.threads)
    timing = plan.batch, plan.threads, plan.times.model_dump()
    search = Search(forms, small.same, plan.claims, splits, {}, work, *timing, bench=bench)
    statics = [*map(Measured, forms.available(list(plan.engines)))]
    search.time("small", statics)
    fastest = min(statics, key=search.speed)
    point = replace(fastest.point, weights=SMALL)
    return FirstModel(forms, point, splits, search.trace(fastest, "select"))


def identity(plan: AdaptSettings, models: list[Original], texts: Texts) -> dict[str, Any]:
    """Settings that an unfinished adaptation must share with the call that goes on."""
    rows = hashlib.sha256(repr(texts.rows).encode("utf-8", "surrogatepass")).hexdigest()
    settings = plan.model_dump(exclude={"to", "texts", "model", "small", *LATE})
    weights = [weights_digest(model.folder) for model in models]
    early = [early_head(model.same.kind, plan.num_columns) for model in models]
    # Passes and times of other versions, or of another machine, are none of the certificate's.
    versions = {name: version_of(name) for name in (*PACKAGES, "transformers")}
    facts = {"early_heads": early, "versions": versions, "machine": machine()}
    return settings | {"weights": weights, "rows": rows} | facts


def check_enough(num: int, num_certify: int, plan: AdaptSettings) -> None:
    """ConfigError where too few texts are left for what is demanded."""
    needed, share = plan.claims[0].needed(), plan.shares[2]
    if num_certify < needed:
        total = int(np.ceil(needed / share))
        raise ConfigError(
            f"texts: {num:,} distinct ones are too few: agree={plan.agree:g} at "
            f"confidence={plan.confidence:g} takes {total:,} or more without near-duplicates, "
            f"{needed:,} for the certificate"
        )


def check_classes(original_NC: np.ndarray, same: SameAnswer, claims: Sequence[Claim]) -> None:
    """ConfigError where a class with a claim of its own has too few answers."""
    groups = same.groups(original_NC)
    for claim in claims[1:]:
        num, needed = int(groups[claim.of].sum()), claim.needed()
        if num < needed:
            raise ConfigError(
                f"per_class: the original answers {claim.of} to {num:,} of {len(original_NC):,} "
                f"texts of the certificate, and {1 - claim.level:g} takes {needed:,}: give more "
                "texts"
            )


def tell_rare_classes(original_NC: np.ndarray, same: SameAnswer, claims: Sequence[Claim]) -> None:
    """Say, in one line, that all answers of some classes may change without being noticed."""
    every, known = claims[0], {claim.of for claim in claims}
    sizes = {name: int(group_N.sum()) for name, group_N in same.groups(original_NC).items()}
    rare = [name for name in sizes if sizes[name] < every.needed() and name not in known]
    if rare:
        least = min(rare, key=sizes.__getitem__)
        print(
            "note: the guarantee covers all classes together, not each by itself. "
            f"{len(rare)} of {len(sizes)} are too rare for one of their own: {least} has "
            f"{sizes[least]:,} of {len(original_NC):,} texts of the certificate, and "
            f"per_class={{{least}: {1 - every.level:g}}} needs {every.needed():,}"
        )


def check_zero_shot(original: Original, num_columns: int) -> None:
    """ConfigError for a classifier of entailment with single texts."""
    if num_columns == 1 and any(x.lower().startswith("entail") for x in original.same.labels):
        raise ConfigError(
            f"model={original.name} compares two texts, so zero-shot classification is another "
            "thing: for its answers to pairs give columns=[premise,hypothesis]"
        )


def splits_of(
    texts: Texts, parts: Mapping[str, np.ndarray], original: Original, cache: Path
) -> dict[str, Any]:
    """Tokenize each part: a `Split`, or `TextWindows` where those are read."""
    columns = [list(column) for column in zip(*texts.rows, strict=True)]
    kind = original.same.kind
    size = len(texts), *kind.label_shape
    whole = Source(columns, np.full(size, kind.unlabelled, kind.label_dtype))
    given = original.tokenizer, original.max_length, cache
    made = {name: make_split(name, whole.take(rows), *given) for name, rows in parts.items()}
    if original.joiner is None:
        return made
    about = original.reader, kind, original.same.labels
    return {name: TextWindows.of(split, *about) for name, split in made.items()}


def with_variants(
    texts: Texts, learn: np.ndarray, copies: int, original: Original, cache: Path
) -> Any:
    """The texts from which exits learn, and altered copies of each, tokenized. Copies that became
    too long are left out."""
    rows = [texts.rows[row] for row in learn]
    altered = replace(texts, rows=variants(rows, copies)).read_by(original.reader)
    more = replace(texts, rows=[*rows, *altered.rows])
    return splits_of(more, {"learn": np.arange(len(more))}, original, cache)["learn"]


def check_encoder(encoder: AdaptiveEncoder, original: Original, split: Any) -> None:
    """ConfigError where our encoder of the same weights answers otherwise than transformers."""
    windows: Split = windows_of(split)
    batch = windows.batch(spread_rows(len(windows), 16))
    with torch.inference_mode():
        ours_BC = encoder(batch).logits_BC[:, : encoder.num_labels].numpy()
        theirs_BC = original.logits(original.inputs(batch)).numpy()
    gap = float(np.abs(ours_BC - theirs_BC).max())
    if not gap < CLOSE:
        raise ConfigError(
            f"model={original.name}: our kernels answer otherwise than transformers does "
            f"(logits differ by {gap:.2g}), so its architecture is not served"
        )


def announce(
    plan: AdaptSettings,
    original: Original,
    texts: Texts,
    splits: Mapping[str, Any],
    scratch: Path,
) -> None:
    """Print what will be done, time and disk. ConfigError where the disk is too small."""
    sizes = {name: len(split) for name, split in splits.items()}
    limit, long = original.max_length, ""
    if plan.long == "windows":
        several = sum(int((split.counts > 1).sum()) for split in splits.values())
        long = f", {several:,} in windows {plan.long_texts.described(limit)}"
    elif full := sum(int((split.lengths >= limit).sum()) for split in splits.values()):
        long = f", {full:,} cut at {limit} tokens" if plan.long == "cut" else ""
    kind, layers = original.config["model_type"], original.num_layers
    [every] = tallied(plan.claims[:1], np.zeros(sizes["certify"], bool), {})
    left_out = len(texts) - sum(sizes.values())
    doubles = f" ({left_out:,} near-duplicates of those are left out)" if left_out else ""
    absent = absent_engines(plan.engines)
    tried = ", ".join(NAMES[e] for e in ("torch", *plan.engines) if e not in absent)
    first = f", and with {plan.small} before them" if plan.small else ""
    again = "; unsure answers are tried again in a higher precision" if original.same.labels else ""
    copies = plan.heads.variants if plan.heads.enabled else 0
    more = f" with {copies} altered copies of each" if copies else ""
    lines = [
        f"{plan.model}: {kind}, {layers} layers, {original.same.title}",
        f"texts: {texts.line}{long}",
        f"parts: {sizes['learn']:,} for learning exits{more}, {sizes['select']:,} for choosing, "
        f"{sizes['certify']:,} for the certificate{doubles}",
        f"guarantee: at most {every.allowed:,} of the {sizes['certify']:,} may change",
        f"tried: {tried}, without exits and with them{first}{again}",
        *(f"not tried: {NAMES[e]}, pip install 'eat-lightning[onnx,openvino]'" for e in absent),
    ]
    print("\n".join(lines), flush=True)
    timed = plan.times.examples * (4 + 6 * plan.times.repeats)  # statics once, then finalists
    copies = 1 + 3.5 * len(plan.engines)  # graphs with exits and without, in fp32 and in int8
    kept = 3.5 if plan.engines else 1.1  # weights; with engines those of three graphs too
    tell_costs(plan, original, splits, scratch, timed, copies, kept)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        print(f"note: other work runs here (load {load:.1f}): times may choose wrongly", flush=True)
