"""Settings of `adapt`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

from pydantic import BeforeValidator, Field

from eat_lightning.config import Settings, parsed
from eat_lightning.data.query_lists import check_file
from eat_lightning.data.unlabelled import files_of
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import Join, LongTexts, Mode
from eat_lightning.record.claim import Claim, agreement
from eat_lightning.runs.plan import HeadSettings, OnePassSettings, WindowSettings
from eat_lightning.validation import Count, NotNegative
from eat_lightning.weights.hub import model_folder

A_LIST = "a list"  # in place of a file, where Python hands over the examples


def named(what: str) -> Any:
    def check(value: Any) -> Any:
        if not value:
            raise ValueError(f"must name {what}")
        return str(value)

    return BeforeValidator(check)


def folder_faults(key: str, name: str) -> Iterator[str]:
    """Yield the error of a name that is neither a folder of a model nor to be had from a hub."""
    if Path(name).is_dir():
        if not Path(name, "config.json").is_file():
            yield (
                f"{key}={name}: no config.json, so not a model folder: give one that "
                "save_pretrained of transformers wrote"
            )
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        yield f"{key}={name}: there is no such folder"
    else:
        try:
            model_folder(name)  # here, since torch has not been loaded yet
        except ConfigError as error:
            yield str(error).splitlines()[0].replace("encoder.pretrained=", f"{key}=")


def file_faults(given: str, check: Callable[[Path], Any]) -> Iterator[str]:
    """Yield the error of a path that cannot be read: what `check` raises."""
    try:
        if given != A_LIST:
            check(Path(given))
    except ConfigError as error:
        yield str(error)


Share = Annotated[float, Field(gt=0, lt=1)]
FEWER = {"most": 2000, "least_steps": 60}  # of a trial, at most
# Usual settings of heads. Heads that align pairs read about eight times as many features, so each
# step moves their output further, and longer training gained nothing on QQP.
OF_TEXTS = {"texts": None, "lr": [3e-3], "epochs": [12]}
OF_PAIRS = {"texts": None, "lr": [1e-3], "epochs": [6]}
FEWER_TIMES = {"examples": 40, "repeats": 1}


def as_trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with quick=true carried out: fewer texts, engines, training steps and timings.

    Lists keep their number and their engine, which have no settings.
    """
    made = {key: value for key, value in config.items() if key != "quick"}
    if not config.get("quick"):
        return made
    fewer = {key: min(made[key], most) for key, most in FEWER.items() if key in made}
    if "engines" in made:
        fewer["engines"] = [name for name in made["engines"] if name == "onnx"]
    times = {key: min(value, FEWER_TIMES[key]) for key, value in made["times"].items()}
    return made | fewer | {"times": times}


class Windows(TypedDict, total=False):
    """How long texts are read in windows.

    Args:
        size: tokens per window; default: what the model can read.
        overlap: tokens shared by neighbouring windows; default: a quarter of a window.
        join: how the windows' answers become one: any (stop at the first window with the label),
            max or mean; default: any.
        label: with join=any: the label to look for; windows that have it always run all layers.
            With several labels: any.
    """

    size: int | None
    overlap: int | None
    join: Join
    label: str | None


class Times(TypedDict, total=False):
    """How candidates are timed.

    Args:
        examples: number of texts on which candidates are timed; default: 200. Not for rerankers.
        repeats: number of times each of them is timed; default: 3.
    """

    examples: int
    repeats: int


class Heads(TypedDict, total=False):
    """How the heads of the exits are trained.

    Args:
        enabled: false: try engines and precisions only; default: true. Not for rerankers.
        texts: maximum number of texts to train on; default: all. Altered copies count too.
        variants: number of altered copies of each text to train on too; default: 2. Not for
            rerankers.
        batch_size: texts per training step; default: 128.
        dropout: dropout of the heads' inputs; default: 0.2.
        lr: learning rates to try; default: [3.0e-3], for pairs [1.0e-3]. For rerankers,
            default: [1.0e-3].
        weight_decay: weight decays to try; default: [0.05].
        epochs: numbers of epochs to try; default: [12], for pairs [6]. For rerankers,
            default: [6].
    """

    enabled: bool
    texts: int | None
    variants: int
    batch_size: int
    dropout: float
    lr: list[float] | None
    weight_decay: list[float]
    epochs: list[int] | None


class RepeatSettings(Settings):
    """How often each list is timed."""

    repeats: Count


class TimesSettings(RepeatSettings):
    """How candidates are timed: texts, and how often."""

    examples: Count


class BothSettings(Settings):
    """Settings that texts and lists share. shares: of them, for learning, choosing and the
    certificate."""

    model: Annotated[str, named("a classifier's folder, or a hub's model: model=...")]
    to: Annotated[str, named("the folder to write: to=...")]
    agree: Share
    confidence: Share
    max_length: Annotated[int, Field(ge=8)] | None
    shares: list[Share]
    threads: Count
    least_steps: Count

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Parse a command's settings, in which `model` is the classifier."""
        return parsed(cls, as_trial(config))

    def rules(self) -> Iterator[str]:
        if len(self.shares) != 3 or abs(sum(self.shares) - 1) > 1e-9:
            yield f"shares must be three that sum to 1, got {self.shares}"
        yield from folder_faults("model", self.model)
        if Path(self.to).exists():
            yield f"to={self.to} is there already: name another folder, or delete it"


class ExitSettings(OnePassSettings):
    """variants: altered copies of each text, on which heads are trained too."""

    variants: Annotated[int, Field(ge=0)]


class AdaptSettings(BothSettings):
    """batch: texts at once, for which the fastest is wanted. most: texts that are used."""

    small: str | None
    texts: Annotated[str, named("a file or a folder of texts: texts=...")]
    heads: ExitSettings
    times: TimesSettings
    per_class: dict[str, Share] | None
    tolerance: NotNegative | None
    cuts: list[float]
    columns: list[str] | None
    batch: Literal[1, 32]
    engines: list[Literal["onnx", "openvino"]]
    most: Count
    long: Mode
    windows: WindowSettings

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Parse a command's settings. Unless given, learning rate and epochs are the usual ones of
        heads that read one text, or two."""
        columns, heads = config.get("columns"), config["heads"]
        usual = OF_PAIRS if isinstance(columns, list | tuple) and len(columns) == 2 else OF_TEXTS
        if isinstance(heads, Mapping):
            heads = usual | {key: value for key, value in heads.items() if value is not None}
        return super().of({**config, "heads": heads})

    @property
    def claims(self) -> list[Claim]:
        """What must hold: at most so many changed answers of all texts, and of each class."""
        return agreement(self.agree, self.confidence, self.per_class)

    @property
    def long_texts(self) -> LongTexts:
        return LongTexts(self.long, **dict(self.windows))

    @property
    def num_columns(self) -> int:
        return len(self.columns or ["text"])

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if self.columns is not None and len(self.columns) not in (1, 2):
            yield f"columns must name one or two, got {self.columns}"
        if self.small and self.long == "windows":
            yield f"small={self.small} is for texts that are read at once, got long=windows"
        elif self.small:
            yield from folder_faults("small", self.small)
        yield from file_faults(self.texts, files_of)


class ListSettings(BothSettings):
    """keep: candidates of a list that are returned. agree: the share of the original's best `keep`
    that are among them, in mean over lists."""

    queries: Annotated[str, named("a file of queries with candidates: queries=...")]
    keep: Count
    heads: HeadSettings
    times: RepeatSettings
    num_columns: ClassVar[int] = 2
    engines: ClassVar[tuple[str, ...]] = ()

    @property
    def claim(self) -> Claim:
        """What must hold: the share of the original's best that is lost, on average over lists."""
        return Claim("lost_candidates", round(1 - self.agree, 12), self.confidence)

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        yield from file_faults(self.queries, check_file)
