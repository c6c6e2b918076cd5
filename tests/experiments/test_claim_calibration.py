"""Calibration of each exit: values by hand, what is flagged, the oracle, and the figures."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from studies import EAT, claim_in, keep, line_of, make_recorded, make_row

from eat_lightning.report.claim import Claim

claim = partial(claim_in, "calibration")

AT_4, AT_6 = [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 1, 0]  # six leave at 4
FITTED: dict[str, Any] = {
    "temperature": {"4": 2.0, "6": 1.0},
    "ece_before": {"4": 0.3, "6": 0.01},
    "ece_after": {"4": 0.1, "6": 0.01},
}


def run(folder: Path, seed: int = 1, at_4: list[int] = AT_4, **more: Any) -> Path:
    """An adaptive run at tau 0.9: a right guess is 95 % sure, a wrong one 60 %."""
    left = sum(at_4) / 8
    right = [a or b for a, b in zip(at_4, AT_6, strict=True)]  # those that stay: the last layer
    row = make_row(
        **{
            **{"model": "eat", "seed": seed, "run": f"eat{seed}", "examples": "e.parquet"},
            **EAT | FITTED,
            **{"accuracy": sum(right) / 8, "depth": 6 - 2 * left},
            **{"exit_shares": {"4": left, "6": 1 - left}},
            **more,
        }
    )
    return keep(folder / f"eat{seed}", [row], make_recorded([at_4, AT_6], [4, 6]))


@pytest.fixture
def found(tmp_path: Path) -> Claim:
    run(tmp_path)
    return claim(tmp_path)


def test_an_exit_by_hand(found: Claim):
    made = line_of(found.tables[0], layer="4").cells
    # Six of eight are 95 % sure and right, two 60 % sure and wrong.
    assert made["ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["adaptive_ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["brier_after"].value == pytest.approx((6 * 2 * 0.05**2 + 2 * 2 * 0.6**2) / 8)
    # Odds of 19 and 1.5 were 19^2 and 1.5^2 before a temperature of 2.
    sure, unsure = 361 / 362, 2.25 / 3.25
    assert made["ece_before"].value == pytest.approx(100 * (6 * (1 - sure) + 2 * unsure) / 8)
    brier = (6 * 2 * (1 - sure) ** 2 + 2 * 2 * unsure**2) / 8
    assert made["brier_before"].value == pytest.approx(brier)
    assert made["confidence_before"].value == pytest.approx(100 * (6 * sure + 2 * unsure) / 8)
    assert (made["accuracy"].value, made["temperature"].value, made["n"].value) == (75, 2, 8)
    # The surest six are right: risks 0 six times, 1/7, 2/8.
    area = 100 * (1 / 7 + 2 / 8) / 8
    assert (made["aurc_before"].value, made["aurc_after"].value) == pytest.approx((area, area))
    assert made["excess_aurc_after"].value == pytest.approx(0, abs=1e-9)


def test_the_oracle_by_hand(found: Claim):
    # Six are right at 4, one at 6 only, one nowhere.
    made = line_of(found.tables[1], way="oracle")
    assert made.cells["accuracy"].value == 87.5
    assert made.cells["depth"].value == (6 * 4 + 6 + 6) / 8
    assert made.cells["least_depth"].value == (6 * 4 + 6 + 4) / 8
    assert made.cells["to_last"].value == pytest.approx(25.0)  # the last layer: five of eight
    assert not made.cells["to_last"].bold
    assert "a bound and no rule: it knows the labels" in made.flags
    tau = line_of(found.tables[1], way="tau 0.9").cells
    assert (tau["accuracy"].value, tau["depth"].value) == (87.5, 4.5)
