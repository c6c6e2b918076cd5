"""The page's parts: contents, warnings, and a section for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eat_lightning.report import figures
from eat_lightning.report.claim import Claim, Figure
from eat_lightning.report.page.sources import Sources
from eat_lightning.report.page.table import table_block
from eat_lightning.report.page.text import escape, file_address, inline_svg, slug

MEASURED = ("dtype", "device", "machine")  # keys of columns whose texts need no unit


def measured_line(claims: Sequence[Claim]) -> str:
    """ "872 examples · 3 seeds · 1 thread · fp32 · cpu": what the first claim's tables say."""
    lines = [line for claim in claims[:1] for table in claim.tables for line in table.lines]

    def texts(key: str) -> list[str]:
        found = dict.fromkeys(line.cells[key].text for line in lines if key in line.cells)
        return [text for text in found if text]

    seeds = sorted({len(text.split(", ")) for text in texts("seed")})
    counted = {
        "example": " / ".join(texts("num_examples")),
        "seed": " to ".join(map(str, dict.fromkeys([*seeds[:1], *seeds[-1:]]))),
        "thread": " / ".join(texts("threads")),
    }
    parts = [f"{n} {unit if n == '1' else unit + 's'}" for unit, n in counted.items() if n]
    return " · ".join([*parts, *(" / ".join(texts(key)) for key in MEASURED if texts(key))])


def contents(claims: Sequence[Claim], with_explorer: bool) -> str:
    entries = [(f"claim-{slug(claim.name)}", claim.title) for claim in claims]
    if with_explorer:
        entries.append(("explorer", "Example explorer"))
    items = (f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in entries)
    return f"<ul>{''.join(items)}</ul>"


def warning_box(warnings: Sequence[str]) -> str:
    """Closed if there are several, which must not push the results off the screen."""
    if not warnings:
        return ""
    count = "A warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    state = " open" if len(warnings) == 1 else ""
    summary = f"<summary>{count} about what was read</summary>"
    return f'<details class="warnings"{state}>{summary}<ul>{items}</ul></details>'


def section(claim: Claim, sources: Sources, files: Mapping[str, Mapping[str, Path]]) -> str:
    name = f"claim-{slug(claim.name)}"
    answer = "".join(map(answer_line, claim.answer))
    drawn = "\n".join(figure_block(f, sources, files.get(f.name, {})) for f in claim.figures)
    tabled = "\n".join(table_block(t, sources) for t in claim.tables)
    figures_html = f'<div class="figures">{drawn}</div>' if drawn else ""
    return f"""<section class="claim" id="{name}" aria-labelledby="{name}-title">
<h2 id="{name}-title">{escape(claim.title)}</h2>
<div class="answer">{answer}</div>
{figures_html}
{tabled}
{note_list(claim.notes)}
</section>"""


def answer_line(line: str) -> str:
    """ "sst2, minilm (6 layers): 1.9 times as fast ..." is headed by what it is about."""
    head, colon, rest = line.partition(": ")
    if not colon or len(head) > 48:
        return f"<p>{escape(line)}</p>"
    return f'<p><span class="head">{escape(head)}</span> {escape(rest)}</p>'


def figure_block(figure: Figure, sources: Sources, saved: Mapping[str, Path]) -> str:
    sources.add_marks(figure)
    name, width = slug(figure.name), f"--inches:{figure.size[0]:g}"
    escaped = escape(figure.name)
    drawing = f'<a href="#" data-save="svg" download="{escaped}.svg" hidden>SVG</a>'
    links = "".join(save_link(figure.name, kind, path) for kind, path in saved.items())
    return f"""<figure class="figure" id="figure-{name}" data-figure="{escaped}" style="{width}">
<div class="canvas">
{inline_svg(figures.svg(figure))}
</div>
<figcaption><strong>{escape(figure.title)}</strong> {escape(figure.caption)}</figcaption>
<p class="save">{drawing}{links}</p>
</figure>"""


def save_link(name: str, kind: str, path: Path) -> str:
    if kind == "svg":
        return ""  # the page's own drawing is saved, without a second copy of it
    file = escape(f"{name}.{kind}")
    return f'<a href="{file_address(path)}" download="{file}">{escape(kind.upper())}</a>'


def note_list(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<aside class="notes"><h3>Notes</h3><ul>{items}</ul></aside>'
