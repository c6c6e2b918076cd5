"""No reduction."""

from models import packed, ragged, tiny

from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.evidence import Evidence


def test_every_token_stays():
    batch = ragged()
    assert (tiny().forward(batch).tokens_LB == batch.lengths_B).all()
    vectors = packed([[1.0], [2.0]], [2])
    assert Keep()(vectors, Evidence(), 1) is vectors
