"""Adaptive Transformer encoders: models that spend less on easy inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

    from eat_lightning.bundle.model import Model as Model
    from eat_lightning.deploy.adapt.plan import Heads as Heads
    from eat_lightning.deploy.adapt.plan import Times as Times
    from eat_lightning.deploy.adapt.plan import Windows as Windows
    from eat_lightning.deploy.verify.compare import Verification as Verification
    from eat_lightning.deploy.verify.plan import Build as Build
    from eat_lightning.evaluation.plan import MeasureTimes as MeasureTimes

__version__ = "0.6.1"
LAZY = {  # names that bring pydantic or pandas, which a version number need not
    "Build": "eat_lightning.deploy.verify.plan",
    "Heads": "eat_lightning.deploy.adapt.plan",
    "MeasureTimes": "eat_lightning.evaluation.plan",
    "Model": "eat_lightning.bundle.model",
    "Times": "eat_lightning.deploy.adapt.plan",
    "Verification": "eat_lightning.deploy.verify.compare",
    "Windows": "eat_lightning.deploy.adapt.plan",
}


def load(folder: str | Path, *, threads: int | None = None, check: bool = False) -> Model:
    """Open a folder that `eat adapt` or `eat rerank` wrote.

    An adapted classifier has `classify(texts)`, a reranker `rank(query, texts)`. ValueError, in
    one line, for a folder that is damaged, or that neither of them wrote.

    Args:
        folder: the folder that the command wrote.
        threads: processor threads of onnxruntime or OpenVINO. None: those with which it was timed.
            This package's kernels follow `torch.set_num_threads`.
        check: True: answer the folder's canaries first, and raise ValueError if an answer is not
            the certified one, as can happen on another processor. Rerankers have no canaries.
    """
    from eat_lightning.bundle.open import load_folder

    return load_folder(folder, threads, check)


def adapt(
    model: str | Path,
    texts: str | Path | Sequence[str | Sequence[str]],
    *,
    to: str | Path | None = None,
    agree: float = 0.99,
    confidence: float = 0.95,
    columns: Sequence[str] | None = None,
    quick: bool = False,
    long: Literal["refuse", "cut", "windows"] = "refuse",
    batch: Literal[1, 32] = 1,
    threads: int = 1,
    per_class: Mapping[str, float] | None = None,
    tolerance: float | None = None,
    cuts: Sequence[float] = (),
    small: str | Path | None = None,
    engines: Sequence[Literal["onnx", "openvino"]] = ("onnx", "openvino"),
    most: int = 20000,
    max_length: int | None = None,
    windows: Windows | None = None,
    shares: Sequence[float] = (0.5, 0.2, 0.3),
    times: Times | None = None,
    least_steps: int = 400,
    heads: Heads | None = None,
) -> Model:
    """Make a fine-tuned classifier faster, and certify how many of its answers may change.

    ValueError, in one line, for wrong arguments, for a classifier that cannot be adapted, and where
    nothing faster keeps its answers.

    Args:
        model: a fine-tuned Hugging Face classifier, as a folder or a name on the hub.
        texts: unlabelled texts in a txt, csv, jsonl or parquet file, or a folder of such files; or
            a list of texts or of pairs.
        to: the folder to write. None: a temporary one, which `save` copies.
        agree: minimum share of answers that must equal the original's, between 0 and 1.
        confidence: confidence of the certificate, between 0 and 1.
        columns: columns of the texts; two for pairs, as in ["premise", "hypothesis"]. None: text.
        quick: True: a trial with fewer texts, engines, training steps and timings; its result is
            not for serving.
        long: texts longer than the model reads: refuse them, read them in windows, or cut them off.
        batch: number of texts per call for which the fastest candidate is chosen: 1 or 32.
        threads: processor threads of the result, with which candidates are timed. Other steps take
            every core.
        per_class: a minimum share for single classes, as in {"toxic": 0.98}: of the texts that the
            original assigns to the class.
        tolerance: for models that return a score: how far it may move and still count as unchanged.
            In the score's unit.
        cuts: for models that return a score: decision thresholds, as in [2.5]; a score is unchanged
            if it stays on the same side of each.
        small: a smaller classifier with the same classes; it answers first, and hands over where it
            is unsure.
        engines: engines to try besides this package's PyTorch kernels, where installed.
        most: maximum number of texts to use, drawn at random.
        max_length: maximum number of tokens read at once. None: what the model can read.
        windows: with long="windows": keys of `Windows`; those left out keep their defaults.
        shares: split of the texts: to train exits, to choose thresholds, to certify.
        times: how candidates are timed: keys of `Times`; those left out keep their defaults.
        least_steps: minimum number of training steps for the exits; with few texts they take more
            than heads.epochs.
        heads: training of the exits: keys of `Heads`; those left out keep their defaults.
    """
    given = {**locals()}
    from eat_lightning.deploy.adapt import api  # brings torch, which a version number need not

    return api.adapt(given)


def adapt_reranker(
    model: str | Path,
    queries: str | Path | Sequence[Mapping[str, Any]],
    *,
    to: str | Path | None = None,
    agree: float = 0.99,
    confidence: float = 0.95,
    keep: int = 10,
    quick: bool = False,
    threads: int = 1,
    max_length: int | None = None,
    shares: Sequence[float] = (0.5, 0.2, 0.3),
    times: Times | None = None,
    least_steps: int = 400,
    heads: Heads | None = None,
) -> Model:
    """Make a cross-encoder faster, and certify how many of its best candidates may be lost.

    ValueError, in one line, for wrong arguments, for a model that cannot be adapted, and where no
    schedule keeps its best candidates.

    Args:
        model: a fine-tuned cross-encoder, as a folder or a name on the hub; or a classifier with a
            class of entailment.
        queries: a jsonl or parquet file of lists, each {"query": text, "candidates": [text, ...]};
            or a list of such dicts.
        to: the folder to write. None: a temporary one, which `save` copies.
        agree: minimum share of the original's best candidates that are still returned, on average
            over lists; between 0 and 1.
        confidence: confidence of the certificate, between 0 and 1.
        keep: number of best candidates that are returned.
        quick: True: a trial with fewer training steps and timings; its result is not for serving.
        threads: processor threads, also while candidates are timed.
        max_length: maximum number of tokens of a query with a candidate. None: what the model can
            read.
        shares: split of the lists: to train exits, to choose the schedule, to certify.
        times: how schedules are timed, on ten lists: `repeats` of `Times`.
        least_steps: minimum number of training steps for the exits; with few lists they take more
            than heads.epochs.
        heads: training of the exits: keys of `Heads`; those left out keep their defaults.
    """
    given = {**locals()}
    from eat_lightning.deploy.adapt import api

    return api.adapt_reranker(given)


def verify(
    old: str | Path | Build,
    new: str | Path | Build,
    texts: str | Path | Sequence[str | Sequence[str]] | None = None,
    *,
    queries: str | Path | None = None,
    keep: int = 10,
    agree: float = 0.99,
    confidence: float = 0.95,
    per_class: Mapping[str, float] | None = None,
    positive: str | None = None,
    map: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    cuts: Sequence[float] = (),
    columns: Sequence[str] | None = None,
    most: int = 20000,
    batch: int = 32,
    threads: int | None = None,
    long: Literal["refuse", "cut"] | None = None,
    to: str | Path | None = None,
) -> Verification:
    """Compare two builds of one classifier: how many answers change, with an exact bound.

    ValueError, in one line, for settings, and for what cannot be compared.

    Args:
        old: the model whose answers must stay: a folder, a name on the hub, the URL of a server, or
            a jsonl, csv or parquet file of answers. A `Build` says how it is run.
        new: the model that may take its place, given like old.
        texts: unlabelled texts in a txt, csv, jsonl or parquet file, or a folder of such files.
            None: those of a file of answers. A list of texts or of pairs does as well.
        queries: for rerankers, instead of texts: a jsonl or parquet file of lists, each
            {"query": text, "candidates": [text, ...]}.
        keep: with queries: number of best candidates; agree is then the average share of old's best
            that are among new's.
        agree: minimum share of answers that must stay the same, between 0 and 1.
        confidence: confidence of every bound, between 0 and 1.
        per_class: a minimum share for single classes, as in {"toxic": 0.98}: of the texts that old
            assigns to the class.
        positive: the class of interest, as in "toxic": changes away from it (permissive) and
            towards it (strict) are counted separately.
        map: labels with two names, as in {"LABEL_0": "negative"}.
        tolerance: for models that return a score: how far it may move and still count as unchanged.
            In the score's unit.
        cuts: for models that return a score: decision thresholds, as in [2.5]; a score is unchanged
            if it stays on the same side of each.
        columns: columns of the texts; two for pairs, as in ["premise", "hypothesis"]. None: text.
        most: maximum number of texts to use, drawn at random.
        batch: maximum number of texts per call or request.
        threads: processor threads. None: all.
        long: texts longer than a model reads: refuse them, or cut them off. None: refuse, or as
            certified.
        to: a folder for the page, every changed text and the answers of both models. None: none is
            written.
    """
    from eat_lightning.deploy.verify import api

    settings = {
        "queries": queries and str(queries),
        "keep": keep,
        "agree": agree,
        "confidence": confidence,
        "per_class": per_class and dict(per_class),
        "positive": positive,
        "map": map and dict(map),
        "tolerance": tolerance,
        "cuts": [*cuts],
        "columns": columns and [*columns],
        "most": most,
        "batch": batch,
        "threads": threads,
        "long": long,
        "to": to and str(to),
    }
    return api.verify(old, new, texts, settings)


def measure(
    run: str | Path | Sequence[str | Path],
    *,
    baselines: Literal["own", "fixed", "static", "hf", "all", "none"] = "own",
    budgets: Sequence[float | str] | None = None,
    agree: Sequence[float] | None = None,
    taus: Sequence[float | Sequence[float]] | None = None,
    rules: Sequence[Mapping[str, Any]] = (),
    certificate: str | None = None,
    timing: MeasureTimes | None = None,
    dtype: Literal["fp32", "bf16", "int8"] = "fp32",
    backend: Literal["torch", "onnx", "openvino", "auto"] = "torch",
    device: Literal["cpu", "cuda"] = "cpu",
    threads: int = 1,
    long: Literal["cut", "windows"] = "cut",
    queries: str | Path | None = None,
    small: str | Path | None = None,
    sizes: Sequence[int] = (10, 30, 100, 300),
    timed_lists: int = 10,
    attention: str | Mapping[str, Any] | None = None,
    reduction: str | Mapping[str, Any] | None = None,
    exit: str | Mapping[str, Any] | None = None,
    policy: str | Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    head: Mapping[str, Any] | None = None,
    logger: str | Mapping[str, Any] | None = None,
    points: Sequence[float | Sequence[float]] | None = None,
    fit_reduction: bool = True,
    split: str = "validation",
    data: Mapping[str, Any] | None = None,
    windows: Windows | None = None,
    batch: int = 32,
    prepack: bool | None = None,
) -> DataFrame:
    """Measure accuracy, depth, retention, FLOPs and latency of finished runs.

    Returns a row for each setting. Its columns are the fields of the run's rows.jsonl, to which the
    rows are added too; values within a field are columns such as `exit.tau`. As the command does,
    it prints a table. ValueError, in one line, for wrong arguments and for what cannot be measured.

    Args:
        run: a run folder (or one that eat rerank wrote), several of them as [a, b], a glob pattern,
            or a study's folder.
        baselines: own (one depth for all, and everything off), fixed (the first), static (the
            second), hf (Hugging Face's model), all or none.
        budgets: settings to measure, as shares of full FLOPs or as times at batch size 1:
            [0.3, 0.5, "12ms"].
        agree: settings to measure, as shares of answers that agree with full depth: [0.99, 0.95].
        taus: exit thresholds to measure. None: the rule's own grid.
        rules: further exit rules to compare, as in [{"kind": "patience", "patience": 1}].
        certificate: name of a certificate whose exits to measure.
        timing: how settings are timed: keys of `MeasureTimes`; those left out keep their defaults.
        dtype: fp32, bf16 (weights too) or int8 (matrix products with weights, on CPUs).
        backend: engine that is recorded and timed: torch, onnx (onnxruntime), openvino or auto (the
            fastest here).
        device: cpu or cuda.
        threads: processor threads.
        long: texts longer than the model reads: cut them off as in training, or read them in
            windows; rows then count whole texts.
        queries: for folders that eat rerank wrote: a file of lists, each {"query": text,
            "candidates": [text, ...]}, with "relevance": [0, 2, ...] if known.
        small: for such folders: a smaller cross-encoder to compare with, alone and in front of the
            other.
        sizes: for such folders: list lengths to measure; shorter lists are left out.
        timed_lists: for such folders: lists of each length to time.
        attention: another method than the run's, as in "longformer", or with settings, as in
            {"kind": "longformer", "window": 32}. Without kind: settings of the run's own method.
        reduction: the same for token reduction.
        exit: the same for the exit rule.
        policy: rules that can override an exit, in order, as in ["min_retention", "veto"], or with
            settings, as in {"veto": {"margin": 0.8}}. Their rows go to rows-policy.jsonl.
        head: layers at which a named exit rule looks. None: every head of the run. As in
            {"layers": [2, 4]}.
        logger: wandb: log the rows to a W&B run of their own.
        points: like taus, for exit rules whose threshold has another name.
        fit_reduction: with budgets or agree: fit the pruning ratio too, unless it is given.
        split: split to measure.
        data: folder of the task's data. None: where the run read it. As in {"dir": "data/toy"}.
        windows: with long="windows": keys of `Windows`; those left out keep their defaults.
        batch: examples per call in the pass that records every exit.
        prepack: arrange weights once for the CPU (oneDNN): true, false. None: as certified, or
            where possible.
    """
    given = {**locals()}
    from eat_lightning.evaluation import api

    return api.measure(given)


def __dir__() -> list[str]:
    return [*globals(), *LAZY]


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)
