"""Every claim that lies in experiments/: a study that lacks its rows is refused in one line."""

from pathlib import Path

import pytest
from studies import claim_in, keep, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.report.__main__ import found_claims


@pytest.mark.parametrize("name", found_claims())
def test_a_claim_names_the_rows_that_it_lacks(name: str, tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    with pytest.raises(ConfigError) as refused:
        claim_in(name, tmp_path)
    assert "\n" not in str(refused.value)
