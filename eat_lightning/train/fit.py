"""Train one run from a plan to a finished folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import yaml
from filelock import FileLock
from lightning import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger

from eat_lightning.config import arguments, make, target
from eat_lightning.data.batching import spread_batches
from eat_lightning.data.module import TextData
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import write_json, write_text
from eat_lightning.model.contracts import Objective, Schedule, Stage
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.runs.run import Run, environment
from eat_lightning.runs.training_mark import training_mark
from eat_lightning.track.log import is_wandb, wandb_logger
from eat_lightning.train.callbacks.bake_weights import BakeWeights
from eat_lightning.train.callbacks.progress import ProgressLines
from eat_lightning.train.callbacks.resume import SaveLast
from eat_lightning.train.callbacks.select import SelectBest
from eat_lightning.train.callbacks.stages import FollowStages, all_train
from eat_lightning.train.callbacks.temperature import FitTemperature
from eat_lightning.train.callbacks.write_run import WriteRun
from eat_lightning.train.module import Classifier
from eat_lightning.train.one_pass import blockers, fit_heads, trains_early_heads_alone
from eat_lightning.train.plan import TrainSettings, head_of, tuned_faults
from eat_lightning.train.processes import is_first_process, num_processes, watched
from eat_lightning.train.teacher import attach_teacher, teacher_in_step
from eat_lightning.train.trainer import GIVEN, strategy_for, trainer_arguments
from eat_lightning.untrusted import json_of
from eat_lightning.user_modules import sources_of_encoder
from eat_lightning.weights.hub import model_folder


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let jobs of a parallel sweep that share a run take turns; only the first one trains it."""
    if not is_first_process():  # a rank that torchrun or srun started is part of the first
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield


def fit(plan: TrainSettings, run: Run) -> None:
    """Train, or resume from last.ckpt. Callbacks write the finished run."""
    began: float | None = perf_counter()
    with training_mark():
        if plan.threads:
            torch.set_num_threads(plan.threads)
        data = data_of(plan)
        seed_everything(plan.seed, verbose=False)
        module = module_of(plan, data)
        for encoder in filter(None, (module.encoder, *module.teacher)):
            data.max_length = min(data.max_length, encoder.shape.max_length)
        settings = trainer_arguments(plan.trainer)
        exits = module.encoder.heads.layers
        stages = module.schedule.stages(plan.trainer["max_epochs"], exits)
        one_pass = in_one_pass(plan, module, stages)
        if data.texts and not one_pass:
            raise ConfigError(
                "data.texts is only for heads trained from one pass: give model=eat_heads"
            )
        if module.objective.wants_teacher and plan.teacher is not None:
            steps = -1 if one_pass else settings.get("max_steps", -1)
            rows = data.rows_drawn(steps, settings["max_epochs"])
            made = attach_teacher(data, plan.teacher, rows, str(settings["precision"]))
            began = began if made else None
        every = all_train(module.encoder, stages, module.objective)
        settings["strategy"] = strategy_for(plan.trainer, every, plan.threads)
        texts = data.split("texts" if data.texts else "train")
        try_methods(module.encoder)
        begin(run, {"train": texts.key, "precision": settings["precision"]})
        objective = module.objective
        if objective.examples and not (run.folder / "last.ckpt").is_file():
            examples = spread_batches(data.split("train"), objective.examples, 8)
            objective.begin(module.encoder, examples)
        if one_pass:
            with loggers_of(plan, run) as loggers:
                fit_heads(plan.one_pass, run, module, data, settings, loggers, began)
        else:
            run_trainer(plan, run, module, data, settings, began)


def try_methods(encoder: AdaptiveEncoder) -> None:
    """Run two short texts through methods from outside the package, so that their errors appear
    before training instead of after it.
    """
    if sources_of_encoder(encoder):
        training = encoder.training
        with torch.inference_mode():
            encoder.eval()(Batch.from_lists([[1, 2, 3, 2, 3, 2], [1, 3, 2]]))
        encoder.train(training)


def in_one_pass(plan: TrainSettings, module: Classifier, stages: Sequence[Stage]) -> bool:
    """True if the early heads can be trained on vectors from one pass of the encoder."""
    if not plan.one_pass.enabled or not trains_early_heads_alone(module.encoder, stages):
        return False
    found = blockers(module, num_processes(plan.trainer))
    if found and is_first_process():
        print(f"the encoder runs in every step: {'; '.join(found)}", flush=True)
    return not found


def run_trainer(
    plan: TrainSettings,
    run: Run,
    module: Classifier,
    data: TextData,
    settings: dict[str, Any],
    began: float | None,
) -> None:
    """Fit with the run's loggers, or resume from last.ckpt.

    Args:
        settings: arguments of the Trainer.
        began: `perf_counter()` at the start of training; None for a resumed run.
    """
    last = run.folder / "last.ckpt"
    write_run = WriteRun(run, None if last.is_file() else began)
    with loggers_of(plan, run) as loggers:
        trainer = Trainer(
            **settings,
            logger=loggers,
            callbacks=[
                FollowStages(),
                # As they act when training ends: best weights, as they act, temperatures.
                *(SelectBest(), BakeWeights(), FitTemperature(), write_run),
                SaveLast(run.folder, plan.checkpoint_every),
                ProgressLines(),
                *(make(node) for node in (plan.callbacks or {}).values()),
            ],
            default_root_dir=run.folder,
            **GIVEN,
        )
        if last.is_file() and is_first_process():
            print(f"{run.folder} was not finished: resuming from last.ckpt")
        # A checkpoint of Lightning's is a pickle, which else may call anything while it is read.
        checkpoint = last if last.is_file() else None
        with watched(trainer, last):
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)


@contextmanager
def loggers_of(plan: TrainSettings, run: Run) -> Iterator[list[Any]]:
    """Yield the CSV logger, and another one if the config names it. They are closed
    with the run.
    """
    attempts = len(list(run.folder.glob("csv*")))  # a resumed run keeps its first curves
    version = f"csv-{attempts + 1}" if attempts else "csv"
    loggers: list[Any] = [CSVLogger(run.folder, name="", version=version)]
    node = plan.logger or {}
    if is_wandb(node):
        loggers.append(wandb_logger(node, run.config, run.folder))
    elif node.get("_target_"):
        loggers.append(target(node)(**({"save_dir": run.folder} | arguments(node))))
    try:
        yield loggers
    finally:
        if is_wandb(node):
            import wandb

            # Else the next job of a sweep would log into this run. An interrupted one has failed.
            wandb.finish(exit_code=0 if (run.folder / "done.json").is_file() else 1)


def data_of(plan: TrainSettings) -> TextData:
    """Return the DataModule with its tokenizer; splits are read and tokenized at first use."""
    tokenizer = tokenizer_for(plan.encoder.get("pretrained"))
    return make(plan.data, task=make(plan.task), tokenizer=tokenizer)


def module_of(plan: TrainSettings, data: TextData) -> Classifier:
    """Return the LightningModule around a new encoder."""
    task, optimizer, methods = data.task, plan.optimizer, plan.methods
    objective = methods.objective
    encoder = make(
        plan.encoder,
        num_labels=task.num_labels,
        kind=plan.kind,
        attention=methods.attention,
        reduction=methods.reduction,
        exit=methods.exit,
        head=head_of(plan, task),
        tokenizer=data.tokenizer,
    )
    shows = "teacher_hidden" in objective.wants
    teacher = teacher_in_step(plan.teacher, objective, data) if plan.teacher and shows else None
    bind(objective, encoder, teacher)
    raise_idle(methods.schedule, encoder)
    pretrained = plan.encoder.get("pretrained")
    if pretrained is not None:  # a hub's model is here only now
        Faults(tuned_faults(plan, str(model_folder(pretrained)))).check()
    return Classifier(
        encoder,
        task,
        objective,
        methods.schedule,
        lr=optimizer.lr or (1e-3 if pretrained is None else task.learning_rate),
        weight_decay=optimizer.weight_decay,
        warmup=optimizer.warmup,
        seed=plan.seed,
        teacher=teacher,
        make_optimizer=optimizer.over,
    )


def raise_idle(schedule: Schedule, encoder: AdaptiveEncoder) -> None:
    """Raise ConfigError for a stage that trains nothing."""
    names = [name for name, _ in encoder.named_parameters()]
    for number, stage in enumerate(schedule.stages(1, encoder.heads.layers), 1):
        if not any(stage.moves(name) for name in names):
            raise ConfigError(
                f"schedule: its stage {number} trains {', '.join(stage.trains)} alone, and "
                f"head={encoder.head['kind']} has no such parameters"
            )


def bind(objective: Objective, encoder: AdaptiveEncoder, teacher: AdaptiveEncoder | None) -> None:
    """Let an objective create its parameters.

    Raises:
        ConfigError: where the objective does not fit the encoder's shapes.
    """
    try:
        objective.bind(encoder.shape, None if teacher is None else teacher.shape)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def begin(run: Run, inputs: dict[str, str]) -> None:
    """Write the inputs of a run. A resumed run must find the same data and precision, which its
    config gives only as a path and as "auto".
    """
    path = run.folder / "versions.json"
    if (run.folder / "last.ckpt").is_file() and path.is_file():
        try:
            before = json_of(path).get("inputs", inputs)
            changed = [key for key in inputs if before.get(key) != inputs[key]]
        except (ValueError, OSError, AttributeError):
            raise ConfigError(
                f"{path}: cannot be read: delete the folder to train it again"
            ) from None
        if changed:
            raise ConfigError(
                f"{run.folder} was started with other inputs ({', '.join(changed)}): choose "
                "another study, or delete the folder"
            )
    if not is_first_process():
        return
    write_text(run.folder / "config.yaml", yaml.safe_dump(run.config, sort_keys=False))
    write_json(path, environment() | {"inputs": inputs})
