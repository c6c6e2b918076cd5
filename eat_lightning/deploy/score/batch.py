"""Add answers to batches of a table, for Ray Data, Spark, or any loop over Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from eat_lightning.config import CONFIG_DIR, parsed
from eat_lightning.deploy.score.plan import ScorerSettings
from eat_lightning.deploy.score.scorer import Scorer
from eat_lightning.deploy.score.tables import (
    answer_schema,
    answer_table,
    check_text,
    table_rows,
    text_names,
    with_columns,
)
from eat_lightning.errors import ConfigError


class BatchScorer:
    """Adds answer columns to a table. `ray.data.Dataset.map_batches` accepts this class.

    Rows without an answer are kept: `error` has the reason, and the other answer columns are null.

    Args:
        run: folder that `train`, `adapt` or `export` wrote.
        settings: of the model, as in `eat score`, such as `text`, `prefix`, `backend`,
            `exit={"budget": 0.5}` or `long`.

    Raises:
        ValueError: in one line, for invalid settings, models and columns.
    """

    def __init__(self, run: str | Path, **settings: Any):
        config = yaml.safe_load(Path(CONFIG_DIR, "score.yaml").read_text("utf-8"))
        config = {key: config[key] for key in ScorerSettings.model_fields}
        config["exit"] |= settings.pop("exit", {})
        try:
            self.plan = parsed(ScorerSettings, config | settings | {"run": str(run)})
            self.scorer = Scorer.open(self.plan)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        self.schema = answer_schema(self.scorer.model.kind, self.plan.prefix)

    def __call__(self, table: pa.Table) -> pa.Table:
        if both := [name for name in self.schema.names if name in table.column_names]:
            raise ValueError(f"the table has columns of its own named {', '.join(both)}: prefix=")
        try:
            task, text = self.scorer.model.columns, self.plan.text_columns
            names = text_names(table.column_names, task, text)
            check_text(table.schema, names)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        answers = self.scorer(table_rows(table, names))
        return with_columns(table, answer_table(answers, self.schema, self.plan.prefix))
