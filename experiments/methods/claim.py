"""Which published method is best at one budget? Lines of every method, and what stands beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.panels import dot
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import grouped_by
from eat_lightning.report.table import Column, Table

YARDSTICK = Path(__file__).parents[1] / "pays" / "results" / "yardstick.jsonl"
POINTS: dict[str, Any] = {"sign": "+", "against": 0}
TIMES: dict[str, Any] = {"against": 1}
RULES = {
    "entropy": "entropy",
    "margin": "margin of the two best classes",
    "cap": "CAP (2506.17249), alpha 1",
    "fpabee": "F-PABEE (2305.11916), patience 1",
}
# Headline numbers of the papers, of other backbones, tasks and clocks.
PUBLISHED = {
    "power_bert": "2.0 to 4.5x at -0.2 to -0.9 points (BERT-base, GLUE, padded batches)",
    "ltp": "2.5 points above earlier pruning at equal FLOPs (RoBERTa-base)",
    "ats": "half of the FLOPs at equal accuracy (images)",
    "tome": "1.6 to 2.0x at -0.4 to -1.7 points (images, trained)",
    "self_distillation": "3.5x at +0.1, 10x at -1.4 points (FastBERT, FLOPs)",
    "beem": "1.5 to 2.1x at equal or better accuracy (GLUE, layers)",
    "sweet": "+1.1 points over joint exits (few examples)",
}


def page(results: Path) -> Section:
    lines = result.read(results / "lines.jsonl")
    dev = [r for r in lines if r["split"] == "validation"]
    sst2, qqp = (best_first(dev, task) for task in ("sst2", "qqp"))
    tables = [
        seeds(dev),
        methods("methods-sst2", sst2),
        methods("methods-qqp", qqp),
        choice([r for r in lines if r["split"] == "certificate" and r["task"] == "sst2"]),
        encoders(result.read(results / "encoders.jsonl")),
        heads(result.read(results / "heads.jsonl")),
        rules(result.read(results / "rules.jsonl")),
    ]
    title = "Which published method is best at one budget?"
    return Section(
        "methods", title, tables=tables, figures=[figure(sst2)], facts=[*facts(sst2, qqp)]
    )


def best_first(dev: Sequence[Result], task: str) -> list[Result]:
    """A line for each method, of all its seeds, the largest gain over the best mix first."""
    fitted = (r for r in dev if r["task"] == task and r["asked"])
    by_method = grouped_by(fitted, lambda r: r["method"])
    found = [max(same, key=lambda r: len(r["seeds"])) for same in by_method.values()]
    return sorted(found, key=lambda r: -r["mix_gain"].value)


def gains(last: str = "gain over static model") -> list[Column]:
    return [
        col.interval("gain", "gain over fixed depth", **POINTS),
        col.interval("mix_gain", "gain over best mix", **POINTS),
        col.interval("to_trained", last, **POINTS),
    ]


def numbers(name: str, digits: int) -> Any:
    """A getter of a value by seed as words."""
    return lambda line: ", ".join(f"{value:.{digits}f}" for value in line[name])


def seeds(dev: Sequence[Result]) -> Table:
    """Methods with three seeds; seeds 2 and 3, which chose nothing, alone beside them."""
    alone = {r["method"]: r for r in dev if r["seeds"] == [2, 3]}

    def other(name: str) -> Any:
        return lambda line: alone[line["method"]][name]

    columns = [
        col.word("method", "method"),
        col.word("accuracy", "accuracy by seed", numbers("accuracy", 2)),
        col.word("flops", "FLOPs", numbers("flops_ratio", 3)),
        *gains(),
        col.interval("mix", "gain over best mix, seeds 2 and 3", other("mix_gain"), **POINTS),
        col.interval(
            "static", "gain over static model, seeds 2 and 3", other("to_trained"), **POINTS
        ),
    ]
    lines = [r for r in best_first(dev, "sst2") if len(r["seeds"]) == 3]
    lines += [r for r in dev if r["task"] == "sst2" and r["asked"] is None and len(r["seeds"]) == 3]
    return col.table("seeds", "Three seeds", "", columns, lines, about=None)


def methods(name: str, lines: Sequence[Result]) -> Table:
    columns = [
        col.word("method", "method"),
        col.word("seeds", "seeds", lambda r: ", ".join(map(str, r["seeds"]))),
        col.word("full", "full depth", numbers("full", 2)),
        col.word("accuracy", "accuracy", numbers("accuracy", 2)),
        col.word("flops", "FLOPs", numbers("flops_ratio", 3)),
        *gains(),
        col.interval("speed_up", "speed-up, batch 1", **TIMES),
        col.interval("batch_speed_up", "speed-up, batch 32", **TIMES),
        col.word("published", "as published", published),
    ]
    return col.table(name, "Every method", "", columns, lines, about=None)


def published(line: Result) -> str | None:
    kinds = line["method"].split(", ")
    return next((PUBLISHED[kind] for kind in kinds if kind in PUBLISHED), None)


def choice(lines: Sequence[Result]) -> Table:
    """Six trainings of three seeds on a part of the training data on which nothing was fitted."""
    columns = [
        col.word("method", "method"),
        col.word("asked", "target cost"),
        col.word("accuracy", "accuracy by seed", numbers("accuracy", 1)),
        col.word("flops", "FLOPs", numbers("flops_ratio", 3)),
        col.interval("to_against", "gain over linear heads", **POINTS),
    ]
    ordered = sorted(lines, key=lambda r: (r["asked"], -sum(r["accuracy"])))
    return col.table("choice", "Which heads `eat` uses", "", columns, ordered, about=None)


def encoders(lines: Sequence[Result]) -> Table:
    columns = [
        col.word("objective", "method"),
        col.word("encoder", "encoder", encoder),
        col.word("setting", "exits", setting),
        col.number("accuracy", "accuracy"),
        col.number("share", "FLOPs", digits=3),
        col.interval("to_trained", "gain over static model", **POINTS),
        col.interval("to_own", "gain over its encoder without exits", **POINTS),
        col.interval("to_exits", "gain over exits on the full encoder at equal cost", **POINTS),
        col.interval("speed_up", "speed-up, batch 1", **TIMES),
        col.interval("batch_speed_up", "speed-up, batch 32", **TIMES),
    ]
    ordered = sorted(lines, key=lambda r: (r["model"] == "eat_pruned", -(r["share"] or 0.0)))
    return col.table("encoders", "Smaller encoders", "", columns, ordered, about=None)


def encoder(line: Result) -> str:
    """ "6 heads, 768 inner" of a model that is called minilm-h6-i768."""
    _, _, cut = line["model"].partition("-h")
    heads, _, inner = cut.partition("-i")
    return f"{heads} heads, {inner} inner neurons" if cut else line["encoder"]


def setting(line: Result) -> str | None:
    if line["model"] != "eat_pruned":
        return None
    return f"target {line['asked']:g}" if line["asked"] else "as trained, tau 0.9"


def heads(lines: Sequence[Result]) -> Table:
    """Each variant minus plain heads, in the mean over four budgets; a column for each run."""
    runs = [*dict.fromkeys(r["run"] for r in lines)]
    columns = [
        col.word("variant", "heads"),
        col.word("texts", "texts"),
        *(col.interval(run, run, under(run), **POINTS) for run in runs),
    ]
    by_variant = grouped_by(lines, lambda r: (r["variant"], r["texts"]))
    found = [
        {"variant": variant, "texts": f"{texts:,}", **{r["run"]: r["more"] for r in same}}
        for (variant, texts), same in by_variant.items()
        if variant != "plain"
    ]
    return col.table(
        "heads", "Heads trained on vectors from one pass", "", columns, found, about=None
    )


def under(key: Any) -> Any:
    """A getter of what a line has under a key, which may have dots."""
    return lambda line: line.get(key)


def rules(lines: Sequence[Result]) -> Table:
    """Each exit rule minus confidence on the same heads; a column for each share asked for."""
    asked = sorted({r["asked"] for r in lines})
    columns = [
        col.word("task", "task"),
        col.word("rule", "rule"),
        *(col.interval(f"at {x:g}", f"at {x:g}", under(x), **POINTS) for x in asked),
    ]
    by_rule = grouped_by(lines, lambda r: (r["task"], r["rule"]))
    found = [
        {"task": task.upper(), "rule": RULES[rule], **{r["asked"]: r["more"] for r in same}}
        for (task, rule), same in sorted(by_rule.items())
        if rule in RULES
    ]
    return col.table("rules", "Exit rules", "", columns, found, about=None)


def figure(lines: Sequence[Result]) -> Figure:
    """Each method's gain over the best mix, and its loss against the static model."""
    panels = {
        "mix_gain": "points over the best mix of two depths",
        "to_trained": "points over the static model",
    }

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, 2, sharey=True)
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            ax.axvline(0, color=INK, linewidth=0.8)
            ax.set_title(title, fontsize=7)
            for y, line in enumerate(reversed(lines)):
                color = SERIES[0] if len(line["seeds"]) > 1 else SERIES[1]
                dot(ax, line[name], y, color=color, marker="o", markersize=3.5)
        names = [line["method"] for line in reversed(lines)]
        axes[0].set_yticks(range(len(names)), labels=names, fontsize=6)
        axes[0].set_ylim(-0.6, len(names) - 0.4)

    size = 6.0, 1.0 + 0.16 * len(lines)
    return Figure("methods", "Gains and losses on SST-2", "Paired 95 % intervals.", draw, size)


def facts(sst2: Sequence[Result], qqp: Sequence[Result]) -> Iterator[str]:
    """Numbers of the page's sentences that no table has."""
    for task, lines in (("SST-2", sst2), ("QQP", qqp)):
        gain = [r for r in lines if r["mix_gain"].low > 0]
        behind = sum(r["to_trained"].high < 0 for r in lines)
        yield (
            f"{task}: {len(gain)} of {len(lines)} gain, {behind} are less accurate than the "
            "static model."
        )
        low, high = gain[-1]["mix_gain"].value, gain[0]["mix_gain"].value
        lost = [r["to_trained"].value for r in lines]
        yield f"{low:.1f} to {high:.1f} points of gain; {max(lost):.1f} to {min(lost):.1f} points."
    for line in result.read(YARDSTICK):
        yield f"{line['task']}, {line['layers']} layers: {line['agreement'].value:.1f} % agree."
    yield "95 % intervals; 15 and 50 % of the weights."
