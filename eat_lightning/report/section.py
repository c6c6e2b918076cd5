"""A section of a page: tables and figures that a script makes of a study, entirely from rows.

A script is a file with a function `claim(study) -> Section`. General claims are in
`report/claims/`; a study of this repository has its own in `experiments/<study>/claim.py`.
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
    """Results of a study for the reader.

    Args:
        answer: the main results, with their numbers.
        notes: how it was measured, and what the claim could not show.
        facts: further sentences from the rows that a study's page may quote.
    """

    name: str
    title: str
    answer: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def table(self, name: str) -> Table:
        """Return the table of that name.

        Raises:
            ConfigError: naming the existing tables.
        """
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
        """Add the results of one more task; tables without lines are left out."""
        self.answer += answer
        self.tables += [table for table in tables if table.lines]
        self.figures += figures
        self.notes += notes

    def or_lacking(self, need: str) -> Section:
        """Return the section itself.

        Raises:
            ConfigError: with what it needs, if there is nothing to show.
        """
        if not self.tables:
            raise ConfigError(need)
        return self
