"""A teacher of one body and tokenizer teaches a student of another: it answers texts, not ids."""

import csv
from pathlib import Path
from typing import Any

import exports
import numpy as np
import pytest
import torch
from models import spread
from training import TINY, config_of

from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.model.options import ALL_EXITS
from eat_lightning.model.packed import Batch
from eat_lightning.runs.run import Run
from eat_lightning.train.fit import data_of
from eat_lightning.train.plan import planned
from eat_lightning.weights.families import FAMILIES

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
DATA = [given for given in TINY if not given.startswith("encoder")]


def of_bytes(texts: list[str]) -> Any:
    """A tokenizer of byte pairs, as ModernBERT's, learned from some texts."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    pairs = ByteLevelBPETokenizer(lowercase=True)
    pairs.train_from_iterator(texts, vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    names = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=with_ends(pairs), **names)


def with_ends(pairs: Any) -> Any:
    from tokenizers.processors import TemplateProcessing

    made = pairs._tokenizer
    ends = [(token, made.token_to_id(token)) for token in ("<s>", "</s>")]
    made.post_processor = TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ends)
    return made


def body(folder: Path, tokenizer: Any) -> Path:
    """A small ModernBERT of random weights."""
    from transformers import ModernBertConfig, ModernBertModel

    names = {"cls": tokenizer.cls_token_id, "sep": tokenizer.sep_token_id}
    names |= {"bos": names["cls"], "eos": names["sep"], "pad": tokenizer.pad_token_id}
    sizes = FAMILIES["modernbert"].small | {"vocab_size": len(tokenizer)}
    config = ModernBertConfig(**sizes | {f"{key}_token_id": i for key, i in names.items()})
    spread(ModernBertModel(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_byte_pairs_learn_from_word_pieces(tmp_path: Path):
    teacher = exports.make_run(tmp_path / "teacher", "dense", "norm_topk", "confidence")
    texts = data_of(planned(config_of(*TINY))).split("train").source.texts[0]
    tokenizer = of_bytes([str(text) for text in texts])
    assert tokenizer.get_vocab() != toy_tokenizer().get_vocab()
    student = body(tmp_path / "body", tokenizer)
    found = trained_from(student, teacher, tmp_path / "cache")
    with (found.folder / "csv" / "metrics.csv").open() as file:
        columns = next(csv.reader(file))
    assert {"train/distill_2", "train/distill_3"} <= {*columns}
    assert found.model_config()["family"] == "modernbert"
    # What it was taught is what the teacher says of the text, in the teacher's own tokens.
    (cached,) = (tmp_path / "cache").glob("teacher-*.npy")
    encoder, _ = Run.open(teacher).model()
    data = found.data()
    for drawn in data.rows_drawn(9, epochs=1)[:3]:
        batch = Batch.from_lists(
            [toy_tokenizer()(str(data.split("train").text(drawn)[0])).input_ids]
        )
        with torch.no_grad():
            said_BC = encoder(batch, ALL_EXITS).logits_BC
        np.testing.assert_allclose(np.load(cached)[drawn], said_BC[0], atol=1e-4)


def trained_from(student: Path, teacher: Path, cache: Path) -> Run:
    from eat_lightning.runs.run import folder_for
    from eat_lightning.train.__main__ import train

    given = [*DATA, "study=distilled", f"teacher='{teacher}'", f"data.cache_dir='{cache}'"]
    given += ["model=eat_pruned", "encoder=modernbert_base", f"encoder.pretrained='{student}'"]
    given += ["encoder.num_layers=3", "head.layers=[2]", "exit.layers=[2]", "reduction.layers=[1]"]
    given += ["objective.distill=0.5", "objective.distill_into=all", "trainer.precision=32-true"]
    config = config_of(*given)
    train(config, given)
    return Run.open(folder_for(config, given))
