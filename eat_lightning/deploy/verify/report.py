"""Report a comparison on the terminal, as Markdown for a pull request, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eat_lightning.deploy.verify.compare import KEPT, SHOWN, ChangedText, Verification
from eat_lightning.errors import ConfigError
from eat_lightning.files import write_json, write_text
from eat_lightning.record.claim import MeanLoss, Tally
from eat_lightning.report.page import render
from eat_lightning.report.section import Section
from eat_lightning.report.table import Cell, Column, Line, Table

VERDICTS = ("It holds", "It does not hold", "It cannot be said with these texts")


def show(result: Verification, format: str) -> None:
    """Print the result as text or Markdown."""
    tables = [counts_table(result), changed_table(result, SHOWN)]
    tables = [table for table in tables if table.lines]
    if format == "markdown":
        first, *others = lines_of(result)
        parts = [f"**{first}**", *others, *about(result)]
        print("\n\n".join([*parts, *(f"{t.caption}\n\n{t.markdown()}" for t in tables)]))
        return
    print("\n".join([*about(result), *lines_of(result)]))
    for table in tables:
        table.show()


def lines_of(result: Verification) -> list[str]:
    """Return the main results."""
    first, *others = result.tallies
    found = f"{first.changed:,} of {first.num:,} {result.what}"
    if isinstance(first, MeanLoss):
        found = f"{percent(first.share)} {result.what} on average over {first.num:,} lists"
    sure = f"with {percent(first.claim.confidence)} confidence at most {percent(first.bound)}"
    return [
        f"{VERDICTS[result.status]}: {found}, and {sure} in such traffic "
        f"({percent(first.claim.level)} allowed).",
        *(
            f"Of {tally.claim.of}: {tally.changed:,} of {tally.num:,}, at most "
            f"{percent(tally.bound)} ({percent(tally.claim.level)} allowed)."
            for tally in others
        ),
        needed_line(result),
    ]


def about(result: Verification) -> list[str]:
    """Describe what was compared."""
    texts = f"texts: {result.tallies[0].num:,} compared; {result.texts.line}"
    return [f"old: {result.old}", f"new: {result.new}", texts]


def needed_line(result: Verification) -> str:
    """Say how many texts or lists would have been needed."""
    lists = isinstance(result.tallies[0], MeanLoss)
    least = max(tally.claim.needed(binary=not lists) for tally in result.tallies)
    line = f"{'Lists' if lists else 'Texts'} needed: {least:,} where no answer changes"
    if lists or not any(tally.changed for tally in result.tallies):
        return f"{line}."
    if result.needed is None:
        return f"{line}. At the rate seen here, no number of texts is enough."
    return f"{line}, about {result.needed:,} at the rate seen here."


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def counts_table(result: Verification) -> Table:
    """Return counts for all texts, then for each class and direction."""
    confidence = percent(result.tallies[0].claim.confidence)
    columns = [
        Column("name", "texts", numeric=False),
        Column("num", "number"),
        Column("changed", "changed"),
        Column("share", "share"),
        Column("bound", "at most", f"exact and one-sided, with {confidence} confidence each"),
    ]
    rows = {"all": result.tallies[0], **result.parts}
    lines = [Line(cells(name, tally)) for name, tally in rows.items() if tally.num]
    most = ", ".join(f"{a} to {b} {n:,}" for (a, b), n in result.classes.most_common(5))
    caption = f"Changed: {most}." if most else "Changed answers, by class and direction."
    return Table("counts", "Changed answers", caption, columns, lines)


def cells(name: str, tally: Tally | MeanLoss) -> dict[str, Cell]:
    share = tally.share
    return {
        "name": Cell(name, name),
        "num": Cell(tally.num, f"{tally.num:,}"),
        "changed": Cell(tally.changed, f"{tally.changed:,}"),
        "share": Cell(share, percent(share)),
        "bound": Cell(tally.bound, percent(tally.bound)),
    }


def changed_table(result: Verification, most: int) -> Table:
    """Return the texts whose answer changed."""
    columns = [Column(key, key, numeric=False) for key in ("text", "old", "new")]
    lines = [Line(shown(each)) for each in result.changed[:most]]
    caption = f"{len(lines):,} of {len(result.changed):,} texts whose answer changed."
    return Table("changed", "Texts whose answer changed", caption, columns, lines)


def shown(changed: ChangedText) -> dict[str, Cell]:
    texts = {"text": " | ".join(changed.texts), "old": str(changed.old), "new": str(changed.new)}
    return {key: Cell(text, text) for key, text in texts.items()}


def write(folder: Path, result: Verification) -> None:
    """Write result.json, page.html, changed.jsonl, and the answers of both models, which can be
    used as files of answers.

    Raises:
        ConfigError: where the folder cannot be written.
    """
    try:
        write_json(folder / "result.json", result.as_dict())
        write_text(folder / "page.html", page(result))
        write_text(folder / "changed.jsonl", json_lines(map(result.plain, result.changed)))
        for key, answers in result.answers.items():
            pairs = zip(result.texts.rows, answers.rows, strict=True)
            rows = ({**result.texts.named(texts), **row} for texts, row in pairs)
            write_text(folder / f"{key}.jsonl", json_lines(rows))
            (folder / KEPT.format(key)).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"to={folder}: cannot be written ({error.strerror})") from None


def json_lines(lines: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def page(result: Verification) -> str:
    """Return the page's HTML."""
    tables = [counts_table(result), changed_table(result, len(result.changed))]
    claim = Section("verified", "Do the two models agree?", lines_of(result))
    claim.add(tables=tables, notes=about(result))
    return render("Two builds of one classifier", [claim])
