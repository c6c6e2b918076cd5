"""Train heads of a frozen encoder on vectors stored from one pass; an epoch takes seconds.

The features of each exit are standardised while its head learns. At the end of training this is
folded into the weights of its first linear layer, so that inference costs nothing more.

Shapes: B examples, E early exits, V width of a vector, W width of its features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import Sampler

from eat_lightning.data.batching import Loader, spread_rows
from eat_lightning.data.module import TextData
from eat_lightning.data.split import Split
from eat_lightning.model.contracts import EncoderPart, Head, Objective, Stage, VectorHead, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import rule_learns
from eat_lightning.model.training import Context
from eat_lightning.runs.plan import HeadSettings
from eat_lightning.runs.run import Run
from eat_lightning.train.callbacks.progress import ProgressLines
from eat_lightning.train.callbacks.temperature import FitTemperature
from eat_lightning.train.callbacks.write_run import WriteRun
from eat_lightning.train.kept_vectors import VectorBatch, Vectors, early_layers, kept_vectors
from eat_lightning.train.module import Classifier, step_seed
from eat_lightning.train.trainer import GIVEN

SAMPLE = 4096  # texts whose features tell how to standardise
TRIED = 4  # exits that each setting is tried on, spread evenly: no head learns from another's
RISE = 0.1  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Chosen:
    """One value of each setting that is searched on the selection split."""

    lr: float
    weight_decay: float
    epochs: int


def blockers(module: Classifier, num_processes: int) -> list[str]:
    """List the features of a run that need the encoder in every step."""
    encoder, objective, found = module.encoder, module.objective, []
    early = [encoder.heads.at(layer) for layer in early_layers(encoder)]
    if any(not reads_one_vector(head) for head in early):
        found.append(f"head={encoder.head['kind']} needs more than a vector of its exit")
    if rule_learns(type(encoder.exit)):
        found.append(f"exit: {type(encoder.exit).__name__} learns from vectors of the encoder")
    hooks = (Objective.passes, Objective.lessons, Objective.effective_weights, Objective.begin)
    if objective.wants or any(overrides(objective, hook) for hook in (*hooks, Objective.bind)):
        found.append(f"objective: {type(objective).__name__} needs more than logits")
    if num_processes > 1:
        found.append("trainer: more than one process")
    return found


def reads_one_vector(head: Head) -> bool:
    learns_alone = isinstance(head, VectorHead) and head.alone and not head.wants_earlier
    return learns_alone and not overrides(head, EncoderPart.penalties)


def trains_early_heads_alone(encoder: AdaptiveEncoder, stages: Sequence[Stage]) -> bool:
    """True if everything except the early heads stays fixed throughout training."""
    early = tuple(f"heads.{layer}." for layer in early_layers(encoder))
    others = [n for n, _ in encoder.named_parameters() if not n.startswith((*early, "exit."))]
    return bool(early) and not any(stage.moves(name) for stage in stages for name in others)


class VectorHeads(LightningModule):
    """Early heads with features that are standardised during training.

    Args:
        encoder: stays unchanged except for its early heads.
        objective: reads logits, full depth, labels and a teacher's logits.
        sample: vectors for the mean and spread of the features.
        most: number of exits to train, spread evenly over the early ones; None: all.
    """

    def __init__(
        self,
        encoder: AdaptiveEncoder,
        objective: Objective,
        chosen: Chosen,
        sample: VectorBatch,
        dropout: float,
        seed: int,
        most: int | None = None,
    ):
        super().__init__()
        early = early_layers(encoder)
        rows = spread_rows(len(early), most or len(early))
        self.columns = {early[row]: int(row) for row in rows}
        self.frozen = [encoder.eval()]  # in a list: what stands still is no part of this module
        self.objective, self.chosen, self.lr = objective, chosen, chosen.lr
        self.rate, self.seed, self.main_metric = dropout, seed, "agreement"
        self.calibration: dict[int, dict[str, float]] = {}
        self.noted: dict[str, Any] = {}
        self.losses: list[Tensor] = []
        self.hits: list[Tensor] = []
        self.means: dict[int, Tensor] = {}
        self.spreads: dict[int, Tensor] = {}
        self.standardise(sample)

    @property
    def encoder(self) -> AdaptiveEncoder:
        return self.frozen[0]

    @property
    def heads(self) -> dict[int, VectorHead]:
        """The early heads to train, by layer."""
        heads = self.encoder.heads
        return {layer: cast("VectorHead", heads.at(layer)) for layer in self.columns}

    def read(
        self, vectors_BEV: Float[Tensor, "b e v"]
    ) -> Iterator[tuple[int, VectorHead, Float[Tensor, "b v"]]]:
        """Yield each head with its layer and its input."""
        for layer, head in self.heads.items():
            yield layer, head, vectors_BEV[:, self.columns[layer]]

    @torch.no_grad()
    def standardise(self, sample: VectorBatch) -> None:
        """Set the mean and spread of each exit's features."""
        for layer, head, vector_BV in self.read(sample.vectors_BEV):
            vector_BV = vector_BV.to(head.temperature.device)
            head.look_at(vector_BV)
            features_BW = head.features(vector_BV)
            spread_W = features_BW.std(0, unbiased=False)
            self.spreads[layer] = spread_W + 1e-3 * spread_W.mean() + 1e-6
            mean_W = features_BW.mean(0)  # without a bias there is nothing to fold it into
            self.means[layer] = mean_W if head.first.bias is not None else 0 * mean_W

    @torch.no_grad()
    def fold(self) -> None:
        """Fold standardisation into the first linear layers. Answers do not change."""
        for layer, head in self.heads.items():
            head.first.weight.div_(self.spreads[layer])
            if head.first.bias is not None:
                head.first.bias.sub_(head.first.weight @ self.means[layer])
        self.means = {layer: torch.zeros_like(x) for layer, x in self.means.items()}
        self.spreads = {layer: torch.ones_like(x) for layer, x in self.spreads.items()}

    def guesses(
        self, vectors_BEV: Float[Tensor, "b e v"], rate: float = 0.0
    ) -> dict[int, Float[Tensor, "b c"]]:
        """Return the logits of each early head from stored vectors.

        Args:
            rate: dropout rate on the features; all heads share one mask.
        """
        found, kept_BW = {}, None
        for layer, head, vector_BV in self.read(vectors_BEV):
            read_BW = (head.features(vector_BV) - self.means[layer]) / self.spreads[layer]
            if rate:
                if kept_BW is None:
                    kept_BW = F.dropout(torch.ones_like(read_BW), rate)
                read_BW = read_BW * kept_BW
            found[layer] = head.guess(F.dropout(head.of_features(read_BW), rate, rate > 0))
        return found

    def on_train_batch_start(self, batch: VectorBatch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.global_step, self.global_rank))

    def training_step(self, batch: VectorBatch, batch_idx: int) -> Tensor:
        """Mean of the objective over the examples."""
        context = Context(
            self.guesses(batch.vectors_BEV, self.rate),
            batch.labels_B,
            len(self.encoder.layers),
            batch.teacher_BC,
            full_BC=batch.full_BC,
            kind=self.encoder.kind,
        )
        loss = self.objective(context).total / len(batch.labels_B)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.labels_B))
        return loss

    def validation_step(self, batch: VectorBatch, batch_idx: int) -> None:
        full_BC, kind = batch.full_BC, self.encoder.kind
        guesses = self.guesses(batch.vectors_BEV)
        for guess_BC in guesses.values():
            if self.objective.reads_labels:
                self.losses.append(kind.loss(guess_BC, batch.labels_B, full_BC))
            else:
                self.losses.append(kind.divergence(guess_BC, full_BC, 1.0))
        self.hits.append(torch.stack([kind.same(g, full_BC) for g in guesses.values()], 1))

    def on_validation_epoch_end(self) -> None:
        """Log `select/loss` and `select/score`, averaged over the early exits.

        The loss is that of the labels, or the divergence from full depth if the objective reads no
        labels. The score is the agreement with full depth.
        """
        hits_BE = torch.cat(self.hits).float()
        self.log("select/loss", torch.stack(self.losses).sum() / hits_BE.numel())
        self.log("select/score", hits_BE.mean(), prog_bar=True)
        for layer, share in zip(self.heads, hits_BE.mean(0), strict=True):
            self.log(f"select/agreement_exit_{layer}", share)
        self.losses, self.hits = [], []

    def configure_optimizers(self) -> Any:
        parameters = [p for head in self.heads.values() for p in head.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        decay = self.chosen.weight_decay
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=decay, fused=True)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def one_cycle(step: int, total: int) -> float:
    """Factor on the learning rate: up over the first tenth of the steps, then down to 0, both along
    a cosine (Smith and Topin 2019).
    """
    rising = max(1, round(RISE * total))
    if step < rising:
        return (1 - np.cos(np.pi * (step + 1) / (rising + 1))) / 2
    return (1 + np.cos(np.pi * (step - rising) / max(1, total - rising))) / 2


class Fold(Callback):
    """Folds standardisation into the weights at the end of training."""

    def on_train_end(self, trainer: Trainer, pl_module: VectorHeads) -> None:
        pl_module.fold()


@dataclass(eq=False)
class Shuffled(Sampler[np.ndarray]):
    """Rows of each batch of an epoch, determined by seed and epoch; in order without a seed."""

    size: int
    batch_size: int
    seed: tuple[int, int] | None = None

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = np.arange(self.size)
        if self.seed is not None:
            rows = np.random.default_rng(self.seed).permutation(rows)
        for start in range(0, self.size, self.batch_size):
            yield np.sort(rows[start : start + self.batch_size])  # a mapped file is read forwards


class VectorData(LightningDataModule):
    """Stored vectors for training and for selection."""

    def __init__(self, train: Vectors, select: Vectors, batch_size: int, seed: int):
        super().__init__()
        self.train, self.select = train, select
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> Loader:
        epoch = self.trainer.current_epoch if self.trainer else 0
        order = Shuffled(len(self.train), self.batch_size, (self.seed, epoch))
        return Loader(self.train, batch_size=None, sampler=order)

    def val_dataloader(self) -> Loader:
        order = Shuffled(len(self.select), 16 * self.batch_size)
        return Loader(self.select, batch_size=None, sampler=order)


class RunVectorData(VectorData):
    """Stored vectors of a run, with the splits that they come from.

    Args:
        data: of the run.
        texts: the split that the heads learn from.
    """

    def __init__(self, data: TextData, texts: Split, *vectors: Any):
        super().__init__(*vectors)
        self.data, self.texts = data, texts
        self.task, self.tokenizer = data.task, data.tokenizer

    def split(self, name: str) -> Split:
        return self.texts if name == "train" else self.data.split(name)


def drawn(split: Split, most: int | None) -> Split:
    """Draw at most `most` examples of a split at random, the same ones in every call."""
    if most is None or most >= len(split):
        return split
    rows = np.sort(np.random.default_rng(0).permutation(len(split))[:most])
    taken = split.take(rows)
    teacher = None if split.teacher is None else split.teacher[rows]
    return replace(taken, key=f"{split.key}-{most}", teacher=teacher)


def fit_heads(
    plan: HeadSettings,
    run: Run,
    module: Classifier,
    data: TextData,
    settings: dict[str, Any],
    loggers: list[Any],
    began: float | None,
) -> None:
    """Make or read the vectors, search the settings, and train the heads with the best ones.

    Args:
        settings: of Lightning's Trainer; the epochs are the plan's.
        began: `perf_counter()` at the start of training; None for a resumed run.
    """
    encoder, precision = module.encoder, str(settings["precision"])
    gpu = settings.get("accelerator") in ("gpu", "cuda") and torch.cuda.is_available()
    encoder.to("cuda" if gpu else "cpu")
    texts = drawn(data.split("texts" if data.texts else "train"), plan.texts)
    train = kept_vectors(encoder, texts, data.cache_dir, precision)
    select = kept_vectors(encoder, data.split("select"), data.cache_dir)
    vectors = RunVectorData(data, texts, train, select, plan.batch_size, module.seed)
    training = HeadTraining(encoder, module.objective, plan, vectors, settings)
    labels_count = module.objective.reads_labels
    fit_temperature = FitTemperature(early_alone=True, to_full_depth=not labels_count)
    write_run = WriteRun(run, began if train.made and select.made else None)
    finish = [Fold(), fit_temperature, write_run, ProgressLines()]
    training.trained(searched(plan, training.loss_of), loggers, finish)


class HeadTraining:
    """Trains early heads on stored vectors, from the same initial weights for each trial.

    Args:
        settings: of Lightning's Trainer; the epochs are the plan's.
    """

    def __init__(
        self,
        encoder: AdaptiveEncoder,
        objective: Objective,
        plan: HeadSettings,
        vectors: VectorData,
        settings: dict[str, Any],
    ):
        self.encoder, self.objective, self.plan = encoder, objective, plan
        self.vectors, self.settings = vectors, settings
        self.before = {name: w.clone() for name, w in encoder.heads.state_dict().items()}

    def trained(
        self,
        chosen: Chosen,
        loggers: Any = False,
        callbacks: Sequence[Callback] = (),
        most: int | None = None,
    ) -> Trainer:
        """Train all heads, or `most` of them."""
        self.encoder.heads.load_state_dict(self.before)
        train, dropout = self.vectors.train, self.plan.dropout
        sample = train[spread_rows(len(train), SAMPLE)]
        args = self.encoder, self.objective, chosen, sample, dropout, self.vectors.seed
        heads = VectorHeads(*args, most)
        heads.noted = {"one_pass": {**vars(chosen), "dropout": dropout}}
        alone: dict[str, Any] = {"max_epochs": chosen.epochs, "precision": "32-true"}
        alone |= {"strategy": "auto"} | ({} if callbacks else {"enable_progress_bar": False})
        settings = self.settings | alone | GIVEN
        trainer = Trainer(**settings, logger=loggers, callbacks=[*callbacks])
        trainer.fit(heads, self.vectors)
        return trainer

    def loss_of(self, chosen: Chosen) -> float:
        trainer = self.trained(chosen, most=TRIED)
        loss = float(trainer.callback_metrics["select/loss"])
        heads = cast("VectorHeads", trainer.lightning_module).heads
        print(f"{chosen}: loss {loss:.4f} of {len(heads)} heads on the selection split", flush=True)
        return loss


def searched(plan: HeadSettings, loss_of: Callable[[Chosen], float]) -> Chosen:
    """Return the values with the lowest loss: each setting is searched in turn, with the others at
    their best so far.
    """
    values = {"lr": plan.lr, "weight_decay": plan.weight_decay, "epochs": plan.epochs}
    best = Chosen(plan.lr[0], plan.weight_decay[0], plan.epochs[0])
    if all(len(tried) == 1 for tried in values.values()):
        return best
    least = loss_of(best)
    for name, tried in values.items():
        for value in tried[1:]:
            other = replace(best, **{name: value})
            if (loss := loss_of(other)) < least:
                best, least = other, loss
    return best
