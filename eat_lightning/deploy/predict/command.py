"""`python -m eat_lightning.predict run=<folder> < lines`: JSON lines out, in order, streaming."""

from __future__ import annotations

from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.deploy.predict.plan import PredictSettings
from eat_lightning.text_io import answer_input


def predict(config: dict[str, Any]) -> int:
    """Answer standard input; returns how many lines could not be read.

    Raises ConfigError, one line per fault, for settings and for a run that cannot answer.
    """
    plan = parsed(PredictSettings, config)
    model = plan.open()
    if plan.text is not None:
        from eat_lightning.deploy.predict.explain import explained

        print("\n".join(explained(model, plan.text)))
        return 0
    return answer_input(model, plan.batch)


main = entry("predict", predict)
