"""On a CUDA device: the processor's answers, and no wait for the device but one for each exit."""

import pytest
import torch
from models import combined, ragged, tiny

from eat_lightning.infer.precision import in_dtype
from eat_lightning.methods.attention._varlen import padded_attention, varlen_attention
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Layout, on_host

pytestmark = pytest.mark.gpu
COMBINATIONS = combined()


@pytest.mark.parametrize(("attention", "reduction", "exit"), COMBINATIONS)
def test_answers_are_the_processors(attention: str, reduction: str, exit: str):
    encoder = tiny(attention, reduction, exit)
    with torch.inference_mode():
        here = encoder(ragged())
        there = encoder.cuda()(ragged().to("cuda"))
    assert torch.equal(here.depth_B, there.depth_B)
    assert torch.equal(here.tokens_LB, there.tokens_LB)
    torch.testing.assert_close(there.logits_BC.cpu(), here.logits_BC, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("attention", "reduction", "exit"), COMBINATIONS)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_one_wait_for_each_exit(
    attention: str, reduction: str, exit: str, dtype: str, monkeypatch: pytest.MonkeyPatch
):
    encoder = in_dtype(tiny(attention, reduction, exit), dtype).cuda()
    batch, waits = ragged().to("cuda"), []
    decide = AdaptiveEncoder.decide

    def counted(self, batch, journey, layer, leave):
        torch.cuda.set_sync_debug_mode("default")
        reason_B = decide(self, batch, journey, layer, leave)
        torch.cuda.set_sync_debug_mode("error")
        waits.append(layer)
        return reason_B

    with torch.inference_mode():
        encoder(batch)  # what is made once: the strength on the host, handles, workspaces
        monkeypatch.setattr(AdaptiveEncoder, "decide", counted)
        torch.cuda.set_sync_debug_mode("error")
        try:
            trace = encoder(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    asked = {*encoder.exit.layers, 6}
    assert waits == sorted(layer for layer in asked if layer <= int(trace.depth_B.max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_varlen_is_the_padded_product(dtype: torch.dtype):
    torch.manual_seed(0)
    lengths = torch.tensor([9, 1, 140, 2])
    layout = Layout(lengths, torch.device("cuda"))
    qkv = torch.randn(int(lengths.sum()), 3, 4, 32, device="cuda", dtype=dtype)
    found, wanted = varlen_attention(qkv, layout, 0.0), padded_attention(qkv, layout, 0.0)
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)


def test_what_is_on_the_host_follows():
    x = torch.ones((), device="cuda")
    assert on_host(x).item() == 1
    x.fill_(0.5)
    assert on_host(x).item() == 0.5
