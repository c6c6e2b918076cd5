"""The [CLS] row, by hand, with [SEP] protected or not."""

import torch
from models import packed

from eat_lightning.methods.reduction.cls_topk import ClsTopK
from eat_lightning.model.evidence import Evidence, gather_evidence
from eat_lightning.model.packed import Layout


def kept(scores: list[float], protect: bool, ratio: float = 0.5) -> list[int]:
    vectors = packed([[0.0]] * len(scores), [len(scores)])
    evidence = Evidence(cls_N=torch.tensor(scores))
    return ClsTopK(ratio, [1], protect)(vectors, evidence, 1).position_N.tolist()


def test_sep_is_protected_and_counts_among_the_kept():
    scores = [0.0, 0.4, 0.3, 0.2, 0.1]  # the last is [SEP]
    assert kept(scores, protect=False) == [0, 1, 2]
    assert kept(scores, protect=True) == [0, 1, 4]


def test_row_of_cls_averaged_over_heads():
    layout = Layout(torch.tensor([3]), torch.device("cpu"))
    rows = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    q = torch.zeros(1, 2, 3, 3)
    q[0, :, 0] = rows.log() * 3**0.5
    k = torch.eye(3).expand(1, 2, 3, 3)
    evidence = gather_evidence(layout, q, k, k, None, frozenset({"cls"}))
    torch.testing.assert_close(evidence.cls_N, rows.mean(0))
    assert evidence.received_N is None
