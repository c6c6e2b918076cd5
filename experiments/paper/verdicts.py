"""The paper's claims, line by line: what it prints, its logs and code show, ours, and a verdict.

What it prints is of *Efficient Adaptive Transformer*, sections and tables by number. Its repository
is github.com/miller-itsec/efficientAdaptiveTransformer. Ours comes from rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.baselines import Entry
from eat_lightning.report.claims.retention.kept import WHOLE
from eat_lightning.report.difference import Difference, difference
from eat_lightning.report.intervals import Interval, wilson
from eat_lightning.report.speed import single_ms, speed_up
from eat_lightning.report.study import Mark, Study
from eat_lightning.report.table import Table
from eat_lightning.runs.row import THEIRS

from .confidence import Confidence
from .levers import Cell
from .tasks import TASKS, Tasks, Twelve, retention_line


class Printed(NamedTuple):
    """A line of tables 1 to 3: accuracy, milliseconds at batch 1, mean depth, retention."""

    accuracy: float
    ms: float
    depth: float = 12
    retention: float = 1


BERT = {"sst2": Printed(0.9246, 10.11), "qqp": Printed(0.917, 10.28), "mnli": Printed(0.834, 9.76)}
DISTILBERT = Printed(0.9039, 5.57)  # on SST-2
EAT = {  # at tau 0.9
    "sst2": Printed(0.9051, 16.22, 11.23, 0.524),
    "qqp": Printed(0.8830, 16.81, 11.66, 0.515),
    "mnli": Printed(0.3840, 20.35, 12.00, 0.512),
}
OVER_TAU = [  # on SST-2, tau 0.80, 0.85 and 0.95
    Printed(0.9027, 16.27, 11.19, 0.524),
    Printed(0.9051, 16.02, 11.21, 0.524),
    Printed(0.9051, 16.38, 11.28, 0.524),
]
TIMED = 822  # sentences of SST-2 in its logs

VERDICTS = [
    col.word("claim", "claim"),
    col.word("prints", "printed result"),
    col.word("shows", "logs and code"),
    col.word("ours", "ours"),
    col.word("why", "reason for the difference"),
    col.word("verdict", "verdict"),
]


@dataclass
class Found:
    """What our side of the lines is made of."""

    tasks: Tasks
    twelve: Twelve
    as_printed: Study
    confidence: Confidence
    ablation: Sequence[Cell]
    interplay: Sequence[Cell]

    def entry(self, task: str, model: str = "eat_pruned") -> Entry:
        return self.tasks.entry(task, model, 0.9)

    def part(self, name: str) -> Cell:
        """A cell of the ablation."""
        return next(cell for cell in self.ablation if cell.parts == name)

    def over_tau(self, task: str) -> list[Mark]:
        return self.tasks.study.points(task=task, baseline="", model="eat_pruned", knob="tau")


def table(found: Found) -> Table:
    keys = [column.key for column in VERDICTS]
    lines = [dict(zip(keys, line(found), strict=True)) for line in LINES]
    return col.table("verdicts", "Claim by claim", "", VERDICTS, lines, None)


def printed(task: str) -> str:
    bert, eat = BERT[task], EAT[task]
    points = 100 * (eat.accuracy - bert.accuracy)
    return (
        f"BERT {100 * bert.accuracy:.2f} % in {bert.ms:.1f} ms; EAT (tau 0.9) "
        f"{100 * eat.accuracy:.2f} % in {eat.ms:.1f} ms: {bert.ms / eat.ms:.2f}x, "
        f"{points:+.2f} points"
    )


def percent(point: Mark) -> str:
    return f"{100 * (point.mean('accuracy') or 0):.2f} %"


def points(found: Difference | None) -> str:
    """ "-0.76 points (-1.83 to +0.27)" """
    return found.interval.text(2, "+", " points") if found and found.interval else ""


def times(found: Interval | None) -> str:
    """ "1.50x (1.42 to 1.56)" """
    return found.text(2, unit="x") if found else ""


def speed(entry: Entry) -> str:
    single, batch = speed_up(entry.point), speed_up(entry.point, "batch_")
    return f"{times(single)} at batch 1, {times(batch)} at batch 32"


def span(values: Sequence[float | None], digits: int) -> str:
    """ "10.0 to 11.4" """
    known = [value for value in values if value is not None]
    return " to ".join(dict.fromkeys(f"{end:.{digits}f}" for end in (min(known), max(known))))


Words = tuple[str, str, str, str, str, str]


def slower(found: Found) -> Words:
    eat, theirs = found.entry("sst2"), found.entry("sst2", "eat_paper")
    return (
        '"This direct combination can increase latency" (abstract, table 1)',
        printed("sst2"),
        "Dropped tokens are zeroed and stay; a Python loop builds each layer's dense mask. Later "
        "runs, not printed, reach BERT's time at 89.8 %",
        f"Over own static {speed(eat)}; {points(eat.to_trained)} against the trained static model. "
        f"With the printed configuration {speed(theirs)}",
        "Dropped tokens and finished examples leave the batch, so their work is saved",
        "**Holds for masking, not for removed rows**",
    )


def distilbert(found: Found) -> Words:
    right = [round(each.accuracy * TIMED) for each in (EAT["sst2"], DISTILBERT)]
    chance, sides = wilson(right[0], TIMED).times(100), []
    for entry in (found.twelve.eat(12, 0.8), found.twelve.eat(12, 0.9, gentle=True)):
        against = difference(entry.point, found.twelve.static("distilbert", entry.study))
        p = cells.p_value(against).text
        sides.append(f"{points(against)}, p {p}, at {times(found.twelve.over_half(entry))}")
    return (
        "Slightly more accurate than DistilBERT on SST-2 (abstract, 7.1)",
        f"{100 * EAT['sst2'].accuracy:.2f} against {100 * DISTILBERT.accuracy:.2f} %",
        f"One sentence of {TIMED} ({right[0]} and {right[1]} right), one seed, tau chosen on them",
        f"12 layers against their distilled half, tau 0.8: {sides[0]}; fewer tokens dropped, tau "
        f"0.9: {sides[1]}",
        f"{TIMED} sentences give 95 % intervals such as {chance.low:.1f} to {chance.high:.1f} %",
        "**Not supported**",
    )


def qqp(found: Found) -> Words:
    eat, theirs = found.entry("qqp"), found.entry("qqp", "eat_paper")
    return (
        "QQP: slower and less accurate (table 2)",
        printed("qqp"),
        "Epoch 1, before pruning, lost 0.9 points: the window hides one question from the other",
        f"{speed(eat)}; {points(eat.to_trained)}. With the printed configuration {speed(theirs)}; "
        f"{points(theirs.to_trained)}",
        "Without a window both questions see each other; rows are removed",
        "**Slower: does not hold. Less accurate: holds with its window**",
    )


def mnli(found: Found) -> Words:
    eat, theirs = found.entry("mnli"), found.entry("mnli", "eat_paper")
    return (
        "MNLI: near chance (table 3)",
        printed("mnli"),
        "77.4 to 78.3 % after a rerun. The printed run most likely stopped before pruning began",
        f"{percent(eat.point)}, {points(eat.to_trained)}; {speed(eat)}. With the printed "
        f"configuration {percent(theirs.point)}, {points(theirs.to_trained)}",
        "Pruning strength is saved with the weights; unfinished runs are not measured",
        "**Does not hold: an artefact. A loss remains**",
    )


def bridges(found: Found) -> Words:
    shown = [found.twelve.static(name) for name in ("bert", "distilbert")]
    shown.append(found.twelve.eat(12, 0.8).point)
    at = [f"{percent(p)} in {p.mean('latency_ms'):.1f} ms" for p in shown]
    return (
        "EAT bridges BERT and DistilBERT (figure 4, section 8)",
        "EAT is slower than both on all three tasks",
        "Later runs reach BERT's time, below its accuracy",
        f"12 layers {at[0]}; their distilled half {at[1]}; EAT on 12 layers {at[2]}",
        "With removed rows EAT reaches the distilled model's accuracy, in less time",
        "**Does not hold**",
    )


def control(found: Found) -> Words:
    eat, fixed = [EAT["sst2"], *OVER_TAU], found.as_printed.points(baseline="", knob="tau")
    accuracy = span([100 * each.accuracy for each in eat], 2)
    depth, ms = span([each.depth for each in eat], 2), span([each.ms for each in eat], 1)
    moved = {name: found.over_tau(task) for task, name in TASKS.items()}
    took = [f"{k} {span([p.mean('latency_ms') for p in own], 1)} ms" for k, own in moved.items()]
    ours = span([100 * (p.mean("accuracy") or 0) for p in moved["SST-2"]], 2)
    stuck, speeds = (span([p.mean(k) for p in fixed], 2) for k in ("depth", "speed_up"))
    return (
        "tau controls a smooth frontier (7.1)",
        f"SST-2, tau 0.80 to 0.95: {accuracy} %, {ms} ms, depth {depth}",
        "The one exit, at layer 4 of 12, hardly ever fires in the printed runs",
        f"{', '.join(took)}; SST-2 stays at {ours} %. Trained as printed (3 epochs at 2e-5): depth "
        f"{stuck} at every tau, {speeds}x",
        "At so small a learning rate MiniLM's head at layer 4 stays unsure",
        "**Holds in part: tau moves time, hardly accuracy**",
    )


def layers(found: Found) -> Words:
    six, twelve = (times(speed_up(found.twelve.eat(k, 0.9).point)) for k in (6, 12))
    return (
        "Six layers are too few; deeper models would gain more (section 11)",
        "a shallow 6-layer encoder",
        "12 layers: no code sets the number, and depths up to 12.00 are logged",
        f"tau 0.9 over own static: 6 layers {six}, 12 layers {twelve}",
        "What cost time were masks and loops, at any depth",
        "**Six layers: does not hold. Deeper gains more: holds**",
    )


def leave(found: Found) -> Words:
    shares = []
    for task in ("mnli", "sst2"):
        places = found.tasks.exits(task)
        at = [np.mean(places[f"layer {k}"]["share"]) for k in (3, 4)]
        shares.append(f"{TASKS[task]} {at[0]:.1f} % and {at[1]:.1f} %")
    return (
        "On MNLI many examples leave at layer 4 (7.3, figure 6)",
        "a significant portion at tau 0.9",
        "Table 3: depth 12.00. The figure's file is of tau 0.95: 107 of 1,000",
        f"{', '.join(shares)} at layers 3 and 4 of 6",
        "Its exit was evaluated on a checkpoint from before pruning",
        "**Does not hold on MNLI; holds on SST-2**",
    )


def easy(found: Found) -> Words:
    places = found.tasks.exits("sst2")
    groups = (places[where]["accuracy"].value for where in ("any early exit", "layer 6 (last)"))
    left, stayed = (f"{100 * share:.1f} %" for share in groups)
    gains = ", ".join(f"{TASKS[task]} {points(found.entry(task).gain)}" for task in TASKS)
    laxer = found.tasks.entry("qqp", "eat_pruned", 0.8), found.twelve.eat(12, 0.8)
    more = [points(entry.gain) for entry in laxer]
    return (
        "Easy inputs leave early, hard ones get full depth (7.3)",
        "no measurement",
        "No fixed depth to compare with",
        f"SST-2: {left} of those that leave are right, {stayed} of the rest. Over fixed depth at "
        f"equal FLOPs: {gains}; at tau 0.8 QQP {more[0]}, MPNet on SST-2 {more[1]}",
        "The paper has no fixed depth. More heads, and budgets: [pays](../pays/page.md)",
        "**Holds; that choosing pays is shown in some settings only**",
    )


def batches(found: Found) -> Words:
    study, eat = found.tasks.study, found.entry("sst2").point
    others = [found.tasks.entry("sst2", "minilm").point]
    others += study.points(task="sst2", model="eat_pruned", baseline=THEIRS)
    ms = [f"{1000 / (p.mean('throughput') or 1):.1f}" for p in (eat, *others)]
    return (
        "Throughput at batch 32 (sections 6 and 10)",
        "no table",
        "A batch leaves as a whole, so that none does (depth 11.7 to 12.0): EAT 1.17, BERT 0.86, "
        "DistilBERT 0.44 ms an example",
        f"SST-2: EAT {ms[0]} ms an example, trained static {ms[1]}, EAT's weights in Hugging "
        f"Face's model {ms[2]}; depth {eat.mean('depth'):.2f}, as at batch 1",
        "Each example leaves alone, and its rows with it",
        "**Does not hold in its code; exits do serve batches**",
    )


def retention(found: Found) -> Words:
    kept = found.tasks.kept.items()
    ours = [f"{retention_line(task, each)[WHOLE]:.3f}" for task, each in kept]
    theirs = [f"{EAT[task].retention:.3f}" for task in TASKS]
    return (
        "Two prunings of 30 % keep 49 % of the tokens (3.1, figure 2)",
        f"0.49 scheduled; {', '.join(theirs)} observed",
        "Pruning is not annealed: with two epochs it steps to full strength",
        f"{', '.join(ours)} with every layer run",
        "[CLS] is exempt and ceil() rounds up, which weighs more in short inputs",
        "**Holds**",
    )


def lengths(found: Found) -> Words:
    line = retention_line("sst2", found.tasks.kept["sst2"])
    return (
        "Shorter inputs are pruned more (7.3, figure 5)",
        "more aggressively on shorter inputs",
        "Shorter inputs keep more",
        f"SST-2: the shortest quarter keeps {line['short']:.3f}, the longest {line['long']:.3f}",
        "ceil() favours short inputs: the figure was misread",
        "**Does not hold: the reverse does**",
    )


def norm(found: Found) -> Words:
    pairs = [cell for cell in found.interplay if cell.both and cell.key[2] == "confidence"]
    ours = [f"{cell.key[0]} {percent(cell.point)} at {cell.share:.2f}" for cell in pairs]
    return (
        "The L2 norm competes with learned scores (3.1)",
        "no measurement",
        "No other score in its code",
        f"SST-2 with exits, and share of the FLOPs: {', '.join(ours)}",
        "One seed, unequal cost; at one budget: [methods](../methods/page.md)",
        "**Not supported there; nothing here contradicts it**",
    )


def window(found: Found) -> Words:
    cell, points_of = found.part("window"), points(found.part("window").points)
    attention = span([each["attention"] for each in found.tasks.costs], 1)
    return (
        "A window of 32 makes attention linear (3.2, proposition 1)",
        "no measurement",
        "All pairs are computed and masked. Before pruning it lost 1.15 (SST-2), 0.9 (QQP) and 4.0 "
        "points (MNLI), exit and heads included",
        f"FLOPs {cell.share:.3f}, {times(cell.faster(single_ms))} at batch 1, {points_of}; the "
        f"quadratic part is {attention} % of a layer at these lengths",
        "Inputs are about as long as the window, and the rest of a layer is linear anyway",
        "**Does not hold at these lengths**",
    )


def formulas(found: Found) -> Words:
    first, *_ = lines = found.tasks.costs
    off = max(abs(line["ratio"] / line["counted"] - 1) for line in lines)
    return (
        "Cost scales with retention and depth (section 5, figure 3)",
        "normalised compute by variant",
        "Counted without pruning and attention; older lines assume depth 4.5, retention 0.55",
        f"SST-2, tau 0.9: formulas {first['ratio']:.3f}, counted {first['counted']:.3f}, time "
        f"{first['single']:.3f} at batch 1 and {first['batch']:.3f} at batch 32. Formulas are "
        f"within {100 * off:.1f} % of counts on all tasks",
        "Ours is counted on the shapes that ran, attention included",
        "**Holds for FLOPs; time at batch 1 falls less**",
    )


def ablation(found: Found) -> Words:
    names = ("pruning", "window", "exits", "pruning + exits")
    shares = ", ".join(f"{name} {found.part(name).share:.3f}" for name in names)
    whole = found.part("pruning + window + exits")
    return (
        "Ablation on SST-2 (7.5, table 4)",
        "a table",
        "Byte for byte table 1: none was run",
        f"FLOPs: {shares}, all three {whole.share:.3f} at {points(whole.points)}",
        "Eight cells, each trained; no accuracy difference excludes zero",
        "**Not supported: was not run. Here savings overlap**",
    )


def temperatures(found: Found) -> Words:
    told = []
    for line in (line for line in found.confidence.exits if line["layer"] == 4):
        before = np.mean(line["ece_before"])
        told.append(f"{line['task']} {before:.1f} to {line['ece_after'].value:.1f} %")
    return (
        "Temperatures steady the frontier and its variance over seeds (7.2)",
        "no numbers",
        "No such code, and one seed",
        f"ECE at layer 4: {', '.join(told)}. SST-2, tau 0.9: {found.confidence.over_seeds()}",
        "With two classes a temperature changes no ranking: only the meaning of tau changes",
        "**Not supported**",
    )


def distillation(_: Found) -> Words:
    return (
        "Distillation from BERT, optional (equation 2)",
        "T = 2, weight 0.5",
        "No such code",
        "EAT on MPNet learned from a teacher at every exit; none was trained without",
        "Its effect was not isolated",
        "**Cannot be tested here**",
    )


def protocol(_: Found) -> Words:
    return (
        "3 epochs, FP16, 1,000 examples, 3 seeds; all numbers follow from logs (6, 7.5)",
        "in the text",
        "2 epochs, FP32, 822 sentences of SST-2, one seed; the timing script does not compile, and "
        "tables hold the earliest runs",
        "Every dev example; three seeds on SST-2, else one; fp32 on a processor",
        "Its times are of a GPU: only ratios within a table can be compared",
        "**Does not hold. GPU times cannot be tested here**",
    )


def security(_: Found) -> Words:
    pages = {"phishing": "phishing", "file gating": "file_gating", "robustness": "robustness"}
    return (
        "Serves phishing triage and file gating; patience resists evasion (7.4, section 10)",
        "no measurement",
        "No such code",
        ", ".join(f"[{name}](../{folder}/page.md)" for name, folder in pages.items()),
        "Measured on tasks of their own",
        "**Not supported there; see these pages**",
    )


LINES: list[Callable[[Found], Words]] = [
    *(slower, distilbert, qqp, mnli, bridges, control, layers, leave, easy, batches),
    *(retention, lengths, norm, window, formulas, ablation),
    *(temperatures, distillation, protocol, security),
]
