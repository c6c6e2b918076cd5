"""`python -m eat_lightning.train`: fine-tune one run, or a sweep with -m.

A run's folder is its identity: a finished one is skipped, a killed one resumed to the same weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import make
from eat_lightning.errors import ConfigError


def train(config: dict[str, Any], overrides: list[str], multirun: bool = False) -> float | None:
    """One run, from a resolved config to a finished folder; returns its score on dev.

    Raises ConfigError with one line per fault before any data or weights are loaded.
    """
    from eat_lightning.runs.run import folder_for, state_of
    from eat_lightning.train.plan import train_faults
    from eat_lightning.train.trainer import launch_faults, quiet

    quiet()
    faults = train_faults(config) + launch_faults(config["trainer"], multirun)
    if faults:
        raise ConfigError.of(faults)
    folder = folder_for(config, overrides)
    state = state_of(folder, config)
    if state == "finished":
        print(f"{folder} is finished: skipped (delete it to train again)")
        return finished_score(folder)
    if faults := resume_faults(folder):
        raise ConfigError.of(faults)
    return fit(config, folder)


def resume_faults(folder: Path) -> list[str]:
    """Whether last.ckpt, if there is one, is a checkpoint of plain values, before data are read."""
    import pickle

    import torch

    path = folder / "last.ckpt"
    if not path.is_file():
        return []
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, KeyError, EOFError):
        return [f"{path}: not a checkpoint to resume from: delete it to train from the start"]
    wanted = ("state_dict", "optimizer_states", "loops", "callbacks")
    lacking = [key for key in wanted if not isinstance(content, dict) or key not in content]
    return [f"{path}: lacks {key}: delete it to train from the start" for key in lacking[:1]]


def finished_score(folder: Path) -> float | None:
    from eat_lightning.runs.run import Run

    return Run.open(folder).done.get("score")


def show_row(folder: Path) -> None:
    """What the run came to, as a table; `measure` adds its time and other taus."""
    from eat_lightning.measure.summary import show
    from eat_lightning.runs.row import read
    from eat_lightning.runs.run import Run

    show(read(folder / "rows.jsonl"), [Run.open(folder)])


def fit(config: dict[str, Any], folder: Path) -> float | None:
    """Train, or go on from last.ckpt; everything that ends a run is done by callbacks."""
    from eat_lightning.runs.run import training_mark

    with training_mark():
        trainer = run_trainer(config, folder)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return None
    show_row(folder)
    return finished_score(folder)


def run_trainer(config: dict[str, Any], folder: Path) -> Any:
    """Data, encoder and Trainer, and the fit itself."""
    import torch
    from lightning import Trainer, seed_everything

    from eat_lightning.train.trainer import trainer_arguments

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    data = prepare_data(config)
    seed_everything(config["seed"], verbose=False)
    module = build_module(config, data)
    data.max_length = min(data.max_length, module.encoder.shape.max_length)
    if module.objective.wants_teacher:
        from eat_lightning.train.teacher import attach_teacher

        attach_teacher(data, config["teacher"])
    settings = trainer_arguments(config["trainer"])
    begin(folder, config, {"train": data.split("train").key, "precision": settings["precision"]})
    loggers = make_loggers(config, folder)
    try:
        trainer = Trainer(
            **settings,
            logger=loggers,
            callbacks=make_callbacks(config, folder, data),
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
        )
        last = folder / "last.ckpt"
        if last.is_file():
            print(f"{folder} was not finished: resuming from last.ckpt")
        # A checkpoint of Lightning's is a pickle, which else may call anything while it is read.
        trainer.fit(module, data, ckpt_path=last if last.is_file() else None, weights_only=True)
    finally:
        finish_loggers(loggers, folder)
    return trainer


def begin(folder: Path, config: dict[str, Any], inputs: dict[str, Any]) -> None:
    """Write what a run is made from. One that goes on must find the same data and precision: its
    config names them by path, and by what the processor can do."""
    import yaml

    from eat_lightning.runs.run import environment, write_json, write_text
    from eat_lightning.weights.untrusted import json_of

    path = folder / "versions.json"
    if (folder / "last.ckpt").is_file() and path.is_file():
        try:
            noted = json_of(path)
        except (ValueError, OSError):
            noted = None
        if not isinstance(noted, dict) or not isinstance(noted.get("inputs", inputs), dict):
            raise ConfigError(f"{path}: cannot be read: delete the folder to train it again")
        before = noted.get("inputs", inputs)
        changed = [key for key in inputs if before.get(key) != inputs[key]]
        if changed:
            raise ConfigError(
                f"{folder} was begun with other inputs ({', '.join(changed)}): choose another "
                "study, or delete the folder"
            )
    write_text(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_json(path, environment() | {"inputs": inputs})


def prepare_data(config: dict[str, Any]) -> Any:
    """The DataModule with its tokenizer; a split is read and tokenized when it is asked for."""
    from eat_lightning.data.tokens import tokenizer_for

    task = make(config["task"])
    tokenizer = tokenizer_for(config["encoder"].get("pretrained"))
    return make(config["data"], task=task, tokenizer=tokenizer)


def build_module(config: dict[str, Any], data: Any) -> Any:
    from eat_lightning.train.module import Classifier

    task = data.task
    slots = {slot: make(config[slot]) for slot in ("attention", "reduction", "exit")}
    encoder = make(
        config["encoder"],
        num_labels=task.num_labels,
        head=config["head"],
        tokenizer=data.tokenizer,
        **slots,
    )
    optimizer = config["optimizer"]
    random = config["encoder"].get("pretrained") is None
    module = Classifier(
        encoder,
        task,
        make(config["objective"]),
        make(config["schedule"]),
        lr=optimizer["lr"] or (1e-3 if random else task.learning_rate),
        weight_decay=optimizer["weight_decay"],
        warmup=optimizer["warmup"],
        seed=config["seed"],
    )
    return module


def make_callbacks(config: dict[str, Any], folder: Path, data: Any) -> list[Any]:
    """In the order in which they act when training ends: best weights, temperatures, the record."""
    from eat_lightning.train.callbacks.progress import Lines
    from eat_lightning.train.callbacks.record import Record
    from eat_lightning.train.callbacks.resume import SaveLast
    from eat_lightning.train.callbacks.select import SelectBest
    from eat_lightning.train.callbacks.stages import FollowStages
    from eat_lightning.train.callbacks.temperature import FitTemperature

    return [
        FollowStages(),
        SelectBest(),
        FitTemperature(),
        Record(config, folder),
        SaveLast(folder, config["checkpoint_every"], data),
        Lines(),
    ]


def make_loggers(config: dict[str, Any], folder: Path) -> list[Any]:
    """CSV always; another one where the config names it."""
    from lightning.pytorch.loggers import CSVLogger

    attempts = len(list(folder.glob("csv*")))  # a resumed run must not write over its first curves
    version = f"csv-{attempts + 1}" if attempts else "csv"
    loggers: list[Any] = [CSVLogger(folder, name="", version=version)]
    node = config["logger"] or {}
    if node.get("_target_"):
        from eat_lightning.track.log import extra_logger

        loggers.append(extra_logger(node, config, folder))
    return loggers


def finish_loggers(loggers: list[Any], folder: Path) -> None:
    """End a W&B run with its job: else the next job of a sweep would log into it. One that was
    interrupted ends as failed."""
    if any(type(logger).__name__.endswith("WandbLogger") for logger in loggers):
        import wandb

        wandb.finish(exit_code=0 if (folder / "done.json").is_file() else 1)


main = entry("train", train, sweeps=True)

if __name__ == "__main__":
    main()
