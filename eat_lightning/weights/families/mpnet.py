"""MPNet (Song et al. 2020): BERT's backbone with T5's relative bias, shared by all layers."""

from __future__ import annotations

from eat_lightning.weights.families import bert
from eat_lightning.weights.family import BERT_NAMES, SIZES, TWO_LAYERS, Family

NAMES = {
    r"encoder\.layer\.(\d+)\.attention\.attn\.(q|k|v)": r"layers.\1.\2",
    r"encoder\.layer\.(\d+)\.attention\.attn\.o": r"layers.\1.out",
    r"encoder\.layer\.(\d+)\.attention\.LayerNorm": r"layers.\1.attention_norm",
    r"encoder\.relative_attention_bias": "relative",
}
FAMILY = Family(
    ("mpnet",),
    "mpnet.",
    BERT_NAMES | NAMES | TWO_LAYERS,
    small=bert.SMALL | {"pad_token_id": 1},
    fixed={"type_vocab_size": 0, "position_offset": 2, "relative_buckets": 32},
    sizes=SIZES | {"relative_buckets": "relative_attention_num_buckets"},
    sep_token_id=2,
)
