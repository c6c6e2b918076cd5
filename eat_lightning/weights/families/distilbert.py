"""DistilBERT (Sanh et al. 2019): BERT's backbone without token types, under other names."""

from __future__ import annotations

from eat_lightning.weights.family import BERT_NAMES, SIZES, Family

NAMES = {
    r"transformer\.layer\.(\d+)\.attention\.(q|k|v)_lin": r"layers.\1.\2",
    r"transformer\.layer\.(\d+)\.attention\.out_lin": r"layers.\1.out",
    r"transformer\.layer\.(\d+)\.sa_layer_norm": r"layers.\1.attention_norm",
    r"transformer\.layer\.(\d+)\.ffn\.lin1": r"layers.\1.up",
    r"transformer\.layer\.(\d+)\.ffn\.lin2": r"layers.\1.down",
    r"transformer\.layer\.(\d+)\.output_layer_norm": r"layers.\1.output_norm",
    r"pre_classifier": "dense",
}
OTHER_SIZES = {
    "hidden_size": "dim",
    "num_layers": "n_layers",
    "num_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "hidden_act": "activation",
}


FAMILY = Family(
    ("distilbert",),
    "distilbert.",
    BERT_NAMES | NAMES,
    settings=lambda shape: {"seq_classif_dropout": shape.dropout},
    small={"vocab_size": 50, "dim": 32, "hidden_dim": 40, "n_heads": 4, "n_layers": 3}
    | {"max_position_embeddings": 42},
    fixed={"type_vocab_size": 0},
    sizes={ours: key for ours, key in (SIZES | OTHER_SIZES).items() if ours != "eps"},
    activation="relu",
)
