"""Where a joined row is: at its largest part, for bodies that look at positions."""

import torch
from models import packed

from eat_lightning.methods.reduction._merged import largest_part, merged


def test_a_joined_row_is_where_its_largest_part_was():
    """Rows 1 (size 3) and 4 (size 3) join row 2 (size 1): it is at 1, the first of the largest;
    row 5 (size 1) joins row 3 (size 1), which stays where it is."""
    position_N, size_N = torch.arange(6), torch.tensor([1.0, 3, 1, 1, 3, 1])
    from_M, into_M = torch.tensor([1, 4, 5]), torch.tensor([2, 2, 3])
    assert largest_part(position_N, size_N, from_M, into_M).tolist() == [0, 1, 1, 3, 4, 5]


def test_equal_parts_stay_where_they_were_merged_into():
    whole = packed([[1.0], [2.0], [4.0], [8.0]], [4])
    joined = merged(whole, torch.tensor([1]), torch.tensor([2]), proportional=False)
    assert joined.position_N.tolist() == [0, 2, 3]
    assert joined.x_ND.flatten().tolist() == [1.0, 3.0, 8.0]
