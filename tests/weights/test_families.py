"""Every family that lies in weights/families: equal to transformers' model, and saved as one."""

import pytest

from eat_lightning.new.family_checks import CHECKS
from eat_lightning.weights.families import FAMILIES


@pytest.mark.parametrize("name", sorted({family.name for family in FAMILIES.values()}))
def test_a_family_keeps(name: str):
    for check in CHECKS:
        check(FAMILIES[name])
