"""The dial to move by hand: what the kept run does at each budget, in one page that needs nothing
from outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.site.kept_run import NUM_LAYERS, accuracy, agreement, dial, fixed_depths
from docs.site.made import Page, filled
from eat_lightning.report.baselines import gains_in
from eat_lightning.report.study import KeptRow

TEMPLATE = Path(__file__).with_name("live.html")


def pages() -> list[Page]:
    data = {
        "layers": NUM_LAYERS,
        "dial": [setting(point) for point in dial()],
        "fixed": [place(point) | {"depth": point.row.depth} for point in fixed_depths()],
    }
    return [Page("how/dial.html", filled(TEMPLATE, data))]


def place(point: KeptRow) -> dict[str, Any]:
    return {"flops": point.row.flops_ratio, "accuracy": accuracy(point)}


def setting(point: KeptRow) -> dict[str, Any]:
    """A point of the dial, with its gains over fixed depth and the layers where examples leave."""
    row = point.row
    gains = {name: gain.times(100).text(sign="+") for name, gain in gains_in(vars(row)).items()}
    shares = sorted((int(layer), share) for layer, share in row.exit_shares.items() if share)
    return place(point) | {
        "budget": row.budget,
        "agreement": agreement(point),
        "depth": row.depth,
        "over_fixed": gains.get("adaptivity_gain", "not measured"),
        "over_mix": gains.get("mix_gain", "not measured"),
        "shares": [{"layer": layer, "share": share} for layer, share in shares],
    }
