"""`python -m eat_lightning.track`: panels for a project's runs, as a W&B workspace."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from eat_lightning.answer_kind import Metric
from eat_lightning.cli import entry
from eat_lightning.config import Settings, parsed
from eat_lightning.errors import ConfigError, in_one_line
from eat_lightning.validation import in_layers

STEP = "trainer/global_step"
METRICS = "|".join(get_args(Metric))
METHODS = tuple(f"{slot}._target_" for slot in ("reduction", "exit", "objective", "schedule"))
RETENTIONS = ("train/retention", "train/scheduled_retention", "select/retention")


Name = Annotated[str, Field(min_length=1)]


class WorkspaceSettings(Settings):
    entity: str | None
    project: Name
    name: Name
    exits: Annotated[list[int], in_layers(at_least=1)]
    group: list[Name]
    file: str | None

    def rules(self) -> Iterator[str]:
        if find_spec("wandb_workspaces") is None:
            yield "a workspace needs the package: pip install wandb-workspaces"


def workspace(config: dict[str, Any]) -> None:
    """Save the workspace to W&B, or its spec as JSON without an account or with `file`.

    Raises:
        ConfigError: for invalid settings, and for errors from W&B.
    """
    from eat_lightning.runs.run import outputs, write_json
    from eat_lightning.track.log import stays_offline

    plan = parsed(WorkspaceSettings, config)
    if not plan.file and not stays_offline():
        print(saved(plan))
        return
    path = Path(plan.file or outputs() / "workspace.json")
    # What W&B would be sent (wandb-workspaces 0.4 has no public name for it).
    spec = view(plan, plan.entity)._to_model().spec
    write_json(path, spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    why = "" if plan.file else " (no W&B account: wandb login, then this command saves it)"
    print(f"{path}: the workspace's spec{why}")


def saved(plan: WorkspaceSettings) -> str:
    """Save the workspace; return its URL."""
    import wandb

    try:
        return view(plan, plan.entity or wandb.Api().default_entity).save().url
    except Exception as error:  # of the network, of the server, or of a key that is not known there
        raise ConfigError(
            f"W&B did not save the workspace: {in_one_line(str(error))} "
            "(file=workspace.json writes its spec)"
        ) from None


def view(plan: WorkspaceSettings, entity: str | None) -> Any:
    """Return a view of runs grouped by study, task, model, methods and `group`, so that a line is a
    mean over seeds.
    """
    from wandb_workspaces import workspaces as ws

    found = ws.Workspace(
        entity=entity or "",
        project=plan.project,
        name=plan.name,
        sections=[
            ws.Section(name=name, panels=panels, is_open=True)
            for name, panels in sections(plan.exits).items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=20),
    )
    keys = ("task.name", "model", *METHODS, *plan.group)
    groups = [ws.Metric("Group"), *map(ws.Config, keys)]
    found.runset_settings = ws.RunsetSettings(groupby=groups)
    return found


def sections(exits: list[int]) -> dict[str, list[Any]]:
    """Return the panels, in the order in which a run is inspected.

    Points of the frontier are the runs' own settings (timed ones come from `measure logger=wandb`)
    and, in tables, all measured settings.
    """
    from wandb_workspaces.reports import v2 as wr

    of = ("before", "after")
    errors: list[Any] = [f"calibration/ece_{when}_exit_{layer}" for layer in exits for when in of]
    return {
        "Frontier": [
            scatter("Score against latency (ms)", "dev/latency_ms"),
            scatter("Score against depth", "dev/depth"),
            scatter("Score against FLOPs", "dev/flops_ratio"),
            scatter("Gain over fixed depth", "dev/flops_ratio", "dev/adaptivity_gain"),
            table_scatter("frontier/latency_table", "latency_ms"),
            table_scatter("frontier/flops_table", "flops_ratio"),
        ],
        "Sweeps": [
            table_scatter("frontier/flops_table", "point"),  # the knob's: tau
            table_scatter("frontier/flops_table", "budget"),
            table_scatter("frontier/flops_table", "budget", "adaptivity_gain"),
            scatter("Score by the knob's point (tau)", "dev/point"),
            scatter("Score by budget", "dev/budget"),
            scatter("Gain by budget", "dev/budget", "dev/adaptivity_gain"),
        ],
        "Exits": [
            lines("Depth under the exit rule", "select/depth"),
            lines("Share that leaves at each exit", regex="select/exit_share_.*"),
            lines("Token layers", "select/token_layers"),
        ],
        "Reduction": [
            lines("Strength", "train/strength"),
            lines("Retention, observed and scheduled", *RETENTIONS),
            lines("Retention against strength", *RETENTIONS, x="train/strength"),
        ],
        "Calibration": [
            wr.BarPlot(title="ECE of each exit, before and after temperature", metrics=errors),
            table_scatter("calibration/reliability_table", "confidence", "accuracy"),
        ],
        "Training": [
            lines("Loss", "train/loss"),
            lines("Selection score", "select/score"),
            lines("Each exit", regex=f"select/({METRICS})_exit_.*"),
            lines("Learning rate", "train/lr"),
        ],
    }


def lines(title: str, *names: str, x: str = STEP, regex: str | None = None) -> Any:
    from wandb_workspaces.reports import v2 as wr

    return wr.LinePlot(title=title, x=x, y=list(names), metric_regex=regex)


def scatter(title: str, x: str, y: str = "dev/score") -> Any:
    from wandb_workspaces.reports import v2 as wr

    return wr.ScatterPlot(title=title, x=wr.SummaryMetric(x), y=wr.SummaryMetric(y))


def table_scatter(table: str, x: str, y: str = "score") -> Any:
    """Return a scatter plot of two columns of a logged table, with all runs in one panel."""
    from wandb_workspaces.reports import v2 as wr

    chart = wr.CustomChart.from_table(table, chart_fields={"x": x, "y": y}, chart_strings={})
    chart.chart_name = "wandb/scatter/v0"
    return chart


main = entry("track", workspace)

if __name__ == "__main__":
    main()
