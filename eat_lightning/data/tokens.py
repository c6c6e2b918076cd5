"""Tokenizers: that of a pretrained backbone, or a small one for the toy grammar."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

from eat_lightning.data import grammar, hub
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.untrusted import step_faults, tokenizer_faults
from eat_lightning.weights.hub import nearest_backbone

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:
    Tokenizer = object  # importing transformers takes 1.5 s, so only those who need it do

NOWHERE = (
    "is no folder here and no model that the hub gave: name a folder with config.json, "
    "model.safetensors and tokenizer.json, or let the hub be reached"
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer_for(pretrained: str | None) -> Tokenizer:
    """Return the tokenizer of a folder or hub name; None: WordPiece over the toy
    grammar's words.
    """
    if pretrained is None:
        return toy_tokenizer()
    from transformers import AutoTokenizer
    from transformers.utils import logging

    folder = Path(pretrained).expanduser()
    here = folder.is_dir()
    if here and (faults := tokenizer_faults(folder)):
        raise ConfigError(f"encoder.pretrained={pretrained}: {faults[0]}")
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns of model type "eat", which it need not know
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder) if here else pretrained,
            local_files_only=here or not hub.reachable(),
            trust_remote_code=False,  # else it asks at the terminal whether to run a folder's code
        )
    except Exception as error:  # `tokenizers` raises that very class for a file it cannot parse
        there = f"holds no tokenizer to read ({one_line(error, 120)})"
        why = there if here else NOWHERE + nearest_backbone(pretrained)
        raise ConfigError(f"encoder.pretrained={pretrained} {why}") from None
    finally:
        logging.set_verbosity(level)
    if not tokenizer.is_fast:
        raise ConfigError(f"encoder.pretrained={pretrained} has no fast tokenizer (tokenizer.json)")
    if here and (faults := step_faults(tokenizer.backend_tokenizer)):
        raise ConfigError(f"encoder.pretrained={pretrained}: tokenizer.json: {faults[0]}")
    return tokenizer


def toy_tokenizer() -> Tokenizer:
    """Return a tokenizer of the grammar's words that spells others in printable ASCII characters.
    Anything else becomes [UNK].
    """
    from transformers import BertTokenizer

    characters = [*string.digits, *string.ascii_lowercase, *string.punctuation]
    pieces = [*SPECIAL, *characters, *("##" + c for c in characters), *sorted(grammar.WORDS)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocab, do_lower_case=True, model_max_length=512)
