"""Nyströmformer: softmax attention through means of parts of the text."""

import torch
import torch.nn.functional as F
from helpers.attentions import WIDTH, Example, bound, drawn, examples, product

from eat_lightning.methods.attention.nystrom import Nystrom


def reference(pattern: Nystrom, one: Example) -> torch.Tensor:
    """Equation 13, part by part; softmax attention where there are no more tokens than parts."""
    num, m = len(one.position_T), pattern.landmarks
    if num <= m:
        mixed = one.softmax(one.q_HTK @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
    else:
        parts = [[i for i in range(num) if i * m // num == part] for part in range(m)]
        q_HMK, k_HMK = (means(x, parts, one.weight_T.exp()) for x in (one.q_HTK, one.k_HTK))
        inverse = by_steps((q_HMK @ k_HMK.transpose(1, 2) / WIDTH**0.5).softmax(-1))
        from_keys = one.softmax(q_HMK @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
        mixed = (one.q_HTK @ k_HMK.transpose(1, 2) / WIDTH**0.5).softmax(-1) @ inverse @ from_keys
    half_window = pattern.conv // 2
    padded_HTK = F.pad(one.v_HTK, (0, 0, half_window, half_window))
    weight_HC = pattern.conv_weight[one.layer - 1].flatten(1)
    shifted = [padded_HTK[:, c : c + num] * w[:, None, None] for c, w in enumerate(weight_HC.T)]
    return mixed + sum(shifted)


def means(x_HTK: torch.Tensor, parts: list[list[int]], size_T: torch.Tensor) -> torch.Tensor:
    weighed = [(x_HTK[:, p] * size_T[p, None]).sum(1) / size_T[p].sum() for p in parts]
    return torch.stack(weighed, 1)


def by_steps(a: torch.Tensor) -> torch.Tensor:
    one = torch.eye(a.shape[-1])
    found = []
    for a_MM in a:
        z = a_MM.T / (a_MM.sum(1).max() * a_MM.sum(0).max())
        for _ in range(6):
            z = z / 4 @ (13 * one - a_MM @ z @ (15 * one - a_MM @ z @ (7 * one - a_MM @ z)))
        found.append(z)
    return torch.stack(found)


def test_one_landmark_gives_all_queries_the_mean_query_s_answer():
    pattern = bound("nystrom", landmarks=1, conv=0)
    (one,) = examples(*drawn([40]))
    q_H1K = (one.q_HTK * one.weight_T.exp()[:, None]).sum(
        1, keepdim=True
    ) / one.weight_T.exp().sum()
    wanted = one.softmax(q_H1K @ one.k_HTK.transpose(1, 2)) @ one.v_HTK
    found = product(pattern, [40])
    torch.testing.assert_close(found, wanted.transpose(0, 1).expand_as(found))
