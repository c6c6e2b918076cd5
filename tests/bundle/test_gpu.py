"""On a CUDA device: the processor's answers, and no wait for the device but one for each exit."""

import pytest
import torch
from helpers.models import ragged, tiny

pytestmark = pytest.mark.gpu


def test_answers_are_the_processors():
    encoder = tiny("dense", "norm_topk", "confidence")
    with torch.inference_mode():
        here = encoder(ragged())
        there = encoder.cuda()(ragged().to("cuda"))
    assert torch.equal(here.depth_B, there.depth_B)
    assert torch.equal(here.tokens_LB, there.tokens_LB)
    torch.testing.assert_close(there.logits_BC.cpu(), here.logits_BC, atol=1e-3, rtol=1e-3)


def test_one_wait_for_each_exit():
    encoder = tiny("dense", "norm_topk", "confidence").cuda()
    batch, waits = ragged().to("cuda"), []
    decide = encoder.decide

    def counted(batch, recorder, layer):
        torch.cuda.set_sync_debug_mode("default")
        reason_B = decide(batch, recorder, layer)
        torch.cuda.set_sync_debug_mode("error")
        waits.append(layer)
        return reason_B

    with torch.inference_mode():
        encoder(batch)  # what is made once: the strength on the host, handles, workspaces
        encoder.decide = counted  # of this encoder alone
        torch.cuda.set_sync_debug_mode("error")
        try:
            trace = encoder(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert waits == [layer for layer in (3, 4, 6) if layer <= int(trace.depth_B.max())]
