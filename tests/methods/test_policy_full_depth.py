"""Full depth for chosen examples, or while it is switched on."""

from models import ragged, tiny

from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.reason import Reason

ABOUT = [{"source": "mail"}, {"mime": "text/html; charset=utf-8"}, {}, {"source": "web-3"}, {}]


def test_it_is_switched_while_running():
    encoder, batch, switch = (
        tiny("dense", "norm_topk", "confidence"),
        ragged(),
        FullDepth(active=False),
    )
    encoder.policies = (switch,)
    assert encoder(batch).depth_B.tolist() == [6, 4, 4, 3, 6]
    switch.active = True
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [6] * 5
    assert trace.reason_B.tolist() == [Reason.FALLBACK] * 5
    switch.active = False
    assert encoder(batch).depth_B.tolist() == [6, 4, 4, 3, 6]


def test_what_has_started_is_not_switched():
    encoder, batch, switch = tiny("dense", "none", "confidence"), ragged(), FullDepth(active=False)
    encoder.policies = (switch,)
    whole, parts = encoder(batch), encoder.stream(batch)
    depths = [next(parts)[1].depth_B[0].item()]
    switch.active = True
    depths += [part.depth_B[0].item() for _, part in parts]
    assert depths == sorted({*whole.depth_B.tolist()})


def test_whom_it_is_about():
    batch = ragged()
    batch.about = ABOUT
    found = FullDepth(sources=["web*"], mimes=["TEXT/*"]).requests(batch, None).full_B
    assert found.tolist() == [False, True, False, True, False]
    assert FullDepth(sources=["*"]).requests(batch, None).full_B.all()
    assert FullDepth(active=False).requests(batch, None).full_B is None
