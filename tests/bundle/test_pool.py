"""A pool answers as batches do, runs deep layers on full ones, and forgets who has left."""

from dataclasses import replace

import pytest
import torch
from helpers.models import alone, each_once, kinds, packed, ragged, settings_of, tiny

from eat_lightning.bundle.depth_batching import Pool, packed_together
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace

SIZE, LENGTHS = 4, tuple(range(1, 38))


def batches() -> list[tuple[list[int], Batch]]:
    """37 examples in batches of four."""
    examples = alone(ragged(LENGTHS))
    names = [list(range(i, min(i + SIZE, 37))) for i in range(0, 37, SIZE)]
    return [(rows, joined([examples[i] for i in rows])) for rows in names]


def joined(examples: list[Batch]) -> Batch:
    ids, types = ([getattr(e, key).tolist() for e in examples] for key in ("ids_N", "types_N"))
    return Batch.from_lists(ids, types)


def pooled(pool: Pool) -> dict[int, Trace]:
    """Each example's trace, by name."""
    found = {}
    with torch.inference_mode():
        parts = [part for names, batch in batches() for part in pool.add(names, batch)]
        parts += pool.flush()
    for names, trace in parts:
        for row, name in enumerate(names):
            assert name not in found
            found[name] = trace.take(torch.tensor([row]))
    return found


METHODS = [(*pair, None) for pair in each_once(kinds("reduction"), kinds("exit"))]
METHODS += [("norm_topk", "confidence", kind) for kind in kinds("head")]


@pytest.mark.parametrize(("reduction", "exit", "kind"), METHODS)
def test_answers_are_those_of_batches(reduction: str, exit: str, kind: str | None):
    """With heads of a kind at all layers, of which the rule asks a few."""
    head = {"kind": kind, "layers": "all"} | settings_of("head", str(kind))
    encoder = tiny("longformer", reduction, exit, head=head if kind else None)
    pool = Pool(encoder, SIZE)
    found = pooled(pool)
    assert sorted(found) == list(range(37))
    assert len(pool) == 0
    with torch.inference_mode():
        whole = encoder(ragged(LENGTHS))
    for name, trace in found.items():
        plain = whole.take(torch.tensor([name]))
        torch.testing.assert_close(trace.logits_BC, plain.logits_BC, atol=1e-4, rtol=1e-4)
        assert trace.depth_B.tolist() == plain.depth_B.tolist()
        assert trace.reason_B.tolist() == plain.reason_B.tolist()
        assert trace.tokens_LB.tolist() == plain.tokens_LB.tolist()


def test_policies_are_asked_of_the_right_examples():
    encoder = tiny("dense", "norm_topk", "confidence")
    with torch.inference_mode():
        free = encoder(ragged(LENGTHS))
        encoder.policies = [Veto(margin=0.6)]
        whole = encoder(ragged(LENGTHS))
    found = pooled(Pool(encoder, SIZE))
    assert whole.depth_B.tolist() != free.depth_B.tolist()
    assert [int(found[i].depth_B) for i in range(37)] == whole.depth_B.tolist()
    assert [int(found[i].reason_B) for i in range(37)] == whole.reason_B.tolist()


def test_deep_layers_run_full_and_few_wait():
    encoder = tiny("dense", "norm_topk", "confidence")
    sizes: dict[int, list[int]] = {number: [] for number in range(1, 7)}
    run_layer = encoder.run_layer

    def counted(packed, number):
        sizes[number].append(packed.layout.size)
        return run_layer(packed, number)

    encoder.run_layer = counted  # of this encoder alone
    pool, waited = Pool(encoder, SIZE), []
    with torch.inference_mode():
        for names, batch in batches():
            list(pool.add(names, batch))
            waited.append(len(pool))
        assert all(size >= SIZE for size in [*sizes[1][:-1], *sizes[4], *sizes[6]])
        list(pool.flush())
        pools = {number: len(sizes[number]) for number in sizes}
        for found in sizes.values():
            found.clear()
        for _, batch in batches():
            encoder(batch)
    exits = len(encoder.exit.layers) + 1
    assert max(waited) < exits * SIZE
    assert pools[1] == len(sizes[1])
    assert pools[6] < len(sizes[6])  # fewer, and fuller
    assert min(sizes[6]) < SIZE


def test_a_group_in_which_nothing_was_merged_joins_one_with_merged_tokens():
    """There a token stands for itself alone, and nothing is added to its scores."""
    plain, merged = packed([[0.0]] * 2, [2]), packed([[0.0]] * 3, [3])
    sizes = torch.tensor([1.0, 3.0, 1.0])
    merged = replace(merged, size_N=sizes, weight_N=sizes.log())
    both = packed_together([plain, merged])
    assert both.size_N is not None
    assert both.size_N.tolist() == [1, 1, 1, 3, 1]
    assert both.weight_N is not None
    assert both.weight_N.exp().tolist() == pytest.approx(both.size_N)
    assert packed_together([plain, plain]).size_N is None
