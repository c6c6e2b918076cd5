"""A claim is made of its kept rows; a study that lacks its rows is refused."""

from pathlib import Path

import pytest
from studies import claim_in, keep, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.report import figures
from eat_lightning.report.__main__ import CLAIMS_DIR, found_claims
from eat_lightning.report.claim import Claim

CLAIMS = ["ablation", "budgets", "exits", "interplay", "methods", "policies"]


def of_kept_rows(name: str) -> tuple[Claim, Path]:
    folder = CLAIMS_DIR / name / "results"
    return claim_in(name, folder), folder / "report.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_made_of_its_kept_rows(name: str):
    found, _ = of_kept_rows(name)
    assert all(table.lines for table in found.tables)
    assert found.answer
    for figure in found.figures:
        assert figures.png(figure)


@pytest.mark.parametrize("name", found_claims())
def test_a_claim_names_the_rows_that_it_lacks(name: str, tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    with pytest.raises(ConfigError) as refused:
        claim_in(name, tmp_path)
    assert "\n" not in str(refused.value)
