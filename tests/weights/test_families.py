"""Every family that lies in weights/families: equal to transformers' model, and saved as one."""

import pytest

from eat_lightning.new.family_checks import CHECKS
from eat_lightning.weights.families import FAMILIES


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted({family.name for family in FAMILIES.values()}))
def test_a_family_keeps(check, name: str):
    check(FAMILIES[name])
