"""A section of a page: the tables and figures that a script makes of a study, all of it from rows.

A script is a file with a function `claim(study) -> Section`. Claims that fit any study are in
`report/claims/`; a study of the repository has its own in `experiments/<study>/claim.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eat_lightning.errors import ConfigError
from eat_lightning.report.table import Table

if TYPE_CHECKING:
    from eat_lightning.report.figures import Figure


@dataclass
class Section:
    """What rows say, as a reader meets it.

    Args:
        answer: the lines that a person takes away, with the numbers in them.
        notes: what a reader must know of how it was measured, and what the claim could not say.
        facts: further sentences from the rows, which a study's page may quote.
    """

    name: str
    title: str
    answer: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def table(self, name: str) -> Table:
        """The table of that name; ConfigError names those that there are."""
        known = {table.name: table for table in self.tables}
        if name not in known:
            raise ConfigError(f"a table must be one of {', '.join(known)}, got {name!r}")
        return known[name]

    def add(
        self,
        answer: Iterable[str] = (),
        tables: Iterable[Table] = (),
        figures: Iterable[Figure] = (),
        notes: Iterable[str] = (),
    ) -> None:
        """Add the answers of one more task; tables without lines are left out."""
        self.answer += answer
        self.tables += [table for table in tables if table.lines]
        self.figures += figures
        self.notes += notes

    def or_lacking(self, need: str) -> Section:
        """Itself; ConfigError with what it needs where there is nothing to show."""
        if not self.tables:
            raise ConfigError(need)
        return self
