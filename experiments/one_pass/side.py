"""A low-rank adapter beside the layers of a frozen encoder, tried on the cut.

    python -m experiments.one_pass.side runs={NAME: FOLDER} [texts=16000] [to=FOLDER]

Ladder side-tuning (Sung et al. 2022, 2206.06522): of each token x at exit e the adapter keeps
s_e = gelu(A_e x + B_e s_(e-1)), 64 wide. A head reads the mean of s_e in each text beside what it
reads without. Full depth stays bit-equal. The encoder runs in every step, since kept vectors hold
no tokens; steps, texts and settings are those of the plain heads. What the adapter costs is not
counted: a share of the layers is, as of all variants.

Shapes: B examples, N tokens, E early exits, D width, R width of the adapter, W width of features,
T texts, C classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.data.split import Split
from eat_lightning.errors import ConfigError, reported
from eat_lightning.methods.head.pair import Pair
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import PassOptions
from eat_lightning.model.packed import Packed
from eat_lightning.progress import shown
from eat_lightning.record.record import Record
from eat_lightning.runs.run import Run
from eat_lightning.train.kept_vectors import early_layers
from eat_lightning.train.one_pass import drawn, one_cycle
from experiments.one_pass.__main__ import EPOCHS, Bench, Tried, judged, keep, recorded_of
from experiments.one_pass.heads import BATCH, DECAY, DROPOUT, LR
from experiments.study import given_of

RANK = 64
VARIANT = "a low-rank adapter beside the layers"


class Adapter(nn.Module):
    """Gives the mean over each text's tokens of what it keeps at each exit."""

    def __init__(self, exits: int, width: int, texts: int):
        super().__init__()
        self.texts = texts
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(exits))
        self.down = nn.ModuleList(nn.Linear(width, RANK) for _ in range(exits))
        self.onward = nn.ModuleList(nn.Linear(RANK, RANK, bias=False) for _ in range(exits))

    def forward(self, hidden: Sequence[Packed]) -> Float[Tensor, "b e tr"]:
        found, side_NR = [], torch.zeros(hidden[0].layout.num_tokens, RANK)
        for packed, norm, down, onward in zip(
            hidden, self.norms, self.down, self.onward, strict=True
        ):
            side_NR = F.gelu(down(norm(packed.x_ND.float())) + onward(side_NR))
            found.append(text_means(packed, side_NR, self.texts))
        return torch.stack(found, 1)


def text_means(packed: Packed, x_NR: Float[Tensor, "n r"], texts: int) -> Float[Tensor, "b tr"]:
    """The mean of the tokens of each text; special tokens are of none."""
    text_N, layout = packed.notes["text"], packed.layout
    place_N = layout.segment_N * texts + (text_N - 1).clamp(0, texts - 1)
    inside_N1 = (text_N > 0).float()[:, None]
    empty_MR = torch.zeros(layout.size * texts, x_NR.shape[1])
    total_MR = empty_MR.index_add(0, place_N, x_NR * inside_N1)
    count_M1 = empty_MR[:, :1].index_add(0, place_N, inside_N1)
    return (total_MR / count_M1.clamp(min=1)).view(layout.size, -1)


class HeadsBeside(nn.Module):
    """Dense, tanh, classes at each exit, of standardised features and of what the adapter adds."""

    def __init__(self, bench: Bench, classes: int, texts: int):
        super().__init__()
        exits, width = bench.train.features_NEW.shape[1:]
        self.adapter = Adapter(exits, bench.hidden, texts)
        read = width + texts * RANK
        self.dense_EWH = nn.Parameter(torch.randn(exits, read, bench.hidden) * 0.5 / read**0.5)
        self.dense_E1H = nn.Parameter(torch.zeros(exits, 1, bench.hidden))
        self.classes_EHC = nn.Parameter(
            torch.randn(exits, bench.hidden, classes) * 0.1 / bench.hidden**0.5
        )
        self.classes_E1C = nn.Parameter(torch.zeros(exits, 1, classes))

    def forward(
        self, features_BEW: Float[Tensor, "b e w"], hidden: Sequence[Packed]
    ) -> Float[Tensor, "e b c"]:
        x_EBW = torch.cat([features_BEW, self.adapter(hidden)], -1).transpose(0, 1)
        x_EBW = F.dropout(x_EBW, DROPOUT, self.training)
        hidden_EBH = torch.tanh(x_EBW @ self.dense_EWH + self.dense_E1H)
        hidden_EBH = F.dropout(hidden_EBH, DROPOUT, self.training)
        return hidden_EBH @ self.classes_EHC + self.classes_E1C


@dataclass(frozen=True)
class Trial:
    """A run whose heads get an adapter.

    Args:
        bench: its features, standardised.
        splits: texts of train, in the order of the features, and of the two parts of the cut.
    """

    bench: Bench
    encoder: AdaptiveEncoder
    splits: tuple[Split, ...]

    @classmethod
    def of(cls, name: str, folder: str, texts: int) -> Trial:
        run = Run.open(folder)
        encoder, _ = run.model()
        if not isinstance(encoder.heads.at(early_layers(encoder)[0]), Pair):
            raise ConfigError(f"runs: {name} must have heads that see two texts")
        data = run.data()
        train = drawn(data.split("train"), texts)
        order = np.random.default_rng(1).permutation(len(train))  # as the features are shuffled
        splits = train.take(order), *(data.split(part) for part in FITTED_ON)
        return cls(Bench.of(name, folder, texts), encoder.eval(), splits)

    def hidden(self, split: Split, rows_B: np.ndarray) -> list[Packed]:
        """Give what early heads see of some texts, by exit."""
        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            options = PassOptions(leave=False, keep_hidden=True)
            found = self.encoder(split.batch(rows_B), options).inside.hidden
            return [self.encoder.for_heads(found[k]) for k in early_layers(self.encoder)]

    def trained(self) -> HeadsBeside:
        """Learn full depth's probabilities by cross-entropy, in the plain heads' steps."""
        torch.manual_seed(0)
        train, head = self.bench.train, self.encoder.heads.at(early_layers(self.encoder)[0])
        model = HeadsBeside(self.bench, train.full_NC.shape[1], getattr(head, "texts", 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
        steps = EPOCHS * -(-len(train) // BATCH)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
        goal_NC = torch.from_numpy(train.full_NC).softmax(-1)
        orders = [np.random.default_rng(e).permutation(len(train)) for e in range(EPOCHS)]
        batches = [np.split(order, range(BATCH, len(order), BATCH)) for order in orders]
        for rows_B in shown([rows for epoch in batches for rows in epoch], f"{self.bench.name}"):
            features_BEW = torch.from_numpy(train.features_NEW[rows_B]).float()
            log_EBC = model(features_BEW, self.hidden(self.splits[0], rows_B)).log_softmax(-1)
            loss = -(goal_NC[rows_B] * log_EBC).sum(-1).mean(1).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return model.eval()

    def records(self, model: HeadsBeside) -> list[Record]:
        """Guesses for the two parts of the cut."""
        found = []
        for part, split in zip(self.bench.parts, self.splits[1:], strict=True):
            logits_ENC = np.zeros((len(self.bench.layers), *part.full_NC.shape), np.float32)
            for rows_B in sorted_batches(split.lengths, 64):
                features_BEW = torch.from_numpy(part.features_NEW[rows_B]).float()
                with torch.no_grad():
                    logits_EBC = model(features_BEW, self.hidden(split, rows_B))
                logits_ENC[:, rows_B] = logits_EBC.numpy()
            full_NC = np.array(part.full_NC)
            found.append(recorded_of(logits_ENC, full_NC, self.bench.layers, self.bench.last))
        return found


def tried(name: str, folder: str, texts: int) -> list[Tried]:
    """The plain heads of a run's features, and those with an adapter."""
    trial = Trial.of(name, folder, texts)
    bench, size = trial.bench, len(trial.bench.train)
    plain, beside = bench.records(bench.plain()), trial.records(trial.trained())
    rows = [bench.tried("plain", size, plain, None)]
    return [*rows, bench.tried(VARIANT, size, beside, judged(plain))]


if __name__ == "__main__":
    with reported():
        keep(given_of(sys.argv[1:], ("runs", "texts", "to")), tried)
