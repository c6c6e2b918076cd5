"""A delta of a tuned classifier: what it keeps is what was learned."""

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

from experiments.adapt import low_rank

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def tuned(body: Path) -> tuple[torch.nn.Module, torch.Tensor]:
    """A model of two classes after a few steps of its updates, and ids of tokens."""
    torch.manual_seed(0)
    model, new = low_rank.opened(str(body), {"num_labels": 2})
    low_rank.attach(model, new, 2)
    ids = torch.randint(2, 50, (8, 6))
    learned = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2)
    for _ in range(20):
        loss = model.train()(input_ids=ids, labels=torch.tensor([0, 1] * 4)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), ids


def check(body: Path, delta: Path) -> None:
    model, ids = tuned(body)
    low_rank.save(model, delta, {"task": "toy"})
    assert low_rank.about_of(delta) == {"task": "toy"}
    merged = low_rank.merged(str(body), delta, {"num_labels": 2})
    with torch.inference_mode():
        torch.testing.assert_close(merged(ids).logits, model(ids).logits, atol=0.02, rtol=0.01)
        assert (model(ids).logits[:, 0] - model(ids).logits[:, 1]).abs().max() > 1


def test_a_merged_delta_answers_as_the_model_that_learned_it(tmp_path: Path) -> None:
    MPNetModel(MPNetConfig(**SIZES)).save_pretrained(tmp_path / "mpnet")
    check(tmp_path / "mpnet", tmp_path / "mpnet.safetensors")
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path / "bert")
    check(tmp_path / "bert", tmp_path / "bert.safetensors")


def test_kept_originals_are_small_and_say_what_they_are_of() -> None:
    kept = sorted(Path(low_rank.__file__).parent.glob("results/originals/*.safetensors"))
    assert kept
    for path in kept:
        assert path.stat().st_size < 3e6
        about = low_rank.about_of(path)
        assert (about["task"], about["body"], about["rank"]) == (path.stem, "mpnet-base", "8")
