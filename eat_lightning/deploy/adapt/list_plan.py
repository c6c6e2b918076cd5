"""Settings of `adapt` with lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from eat_lightning.config import Settings, parsed_for_lists
from eat_lightning.data.query_lists import check_file
from eat_lightning.deploy.adapt.plan import (
    Share,
    TimesSettings,
    file_faults,
    folder_faults,
    named,
)
from eat_lightning.errors import ConfigError
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.validation import Whole


class ListSettings(Settings):
    """keep: candidates of a list that are returned. agree: the share of the original's best `keep`
    that are among them, in mean over lists. shares: of the queries for learning, choosing and the
    certificate."""

    model: Annotated[str, named("a cross-encoder's folder, or a hub's model: model=...")]
    queries: Annotated[str, named("a file of queries with candidates: queries=...")]
    to: Annotated[str, named("the folder to write: to=...")]
    keep: Annotated[int, Whole(1)]
    agree: Share
    confidence: Share
    max_length: Annotated[int | None, Whole(8)]
    shares: list[Share]
    threads: Annotated[int, Whole(1)]
    least_steps: Annotated[int, Whole(1)]
    heads: OnePassSettings
    times: TimesSettings
    num_columns: ClassVar[int] = 2
    engines: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ListSettings:
        """Parse the command's settings. ConfigError for those that are for texts."""
        if config["texts"] is not None:
            raise ConfigError("texts= and queries= are for two kinds of models: give one of them")
        return parsed_for_lists(cls, config, "adapt")

    def rules(self) -> Iterator[str]:
        if len(self.shares) != 3 or abs(sum(self.shares) - 1) > 1e-9:
            yield f"shares must be three that sum to 1, got {self.shares}"
        if not self.heads.enabled:
            yield "heads.enabled=false is for texts: candidates leave by what heads say"
        yield from folder_faults("model", self.model)
        yield from file_faults(self.queries, check_file)
        if Path(self.to).exists():
            yield f"to={self.to} is there already: name another folder, or delete it"
