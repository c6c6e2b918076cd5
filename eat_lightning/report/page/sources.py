"""Where marks and lines come from, collected once for the page's script; equal ones are shared."""

from __future__ import annotations

from typing import Any

from eat_lightning.report.claim import Figure, Source


class Sources:
    """`found` is what the script reads: {"sources": [{runs, command, commits}, ...], "marks":
    {figure name: [{gid, title, details, source: its index}, ...]}}."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"sources": [], "marks": {}}
        self._index: dict[Source, int] = {}

    def add(self, source: Source) -> int:
        """The index of this source in the page."""
        if source not in self._index:
            self._index[source] = len(self._index)
            entry = {"runs": source.runs, "command": source.command, "commits": source.commits}
            self.found["sources"].append(entry)
        return self._index[source]

    def add_marks(self, figure: Figure) -> None:
        self.found["marks"][figure.name] = [
            {
                "gid": mark.gid,
                "title": mark.title,
                "details": mark.details,
                "source": self.add(mark.source),
            }
            for mark in figure.marks
        ]
