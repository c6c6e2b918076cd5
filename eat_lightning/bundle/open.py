"""The steps of `Model.open`, for each kind of folder: a run, an export, or what `adapt` or `rerank`
wrote.

Where graphs run it, torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.bundle.adapted import AboutAdapted, AboutLists, own_certificate, read_dial
from eat_lightning.bundle.bundle import Bundle, is_adapted, is_of_lists
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.bundle.plan import check_torch, tell
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.bundle.trials import digest_of
from eat_lightning.errors import ConfigError, reading
from eat_lightning.long_texts import LongTexts
from eat_lightning.model.policy import Policy
from eat_lightning.record.point import Point

if TYPE_CHECKING:
    from eat_lightning.bundle.canaries import CanaryCheck

EXITS = ("exit", "budget", "agree")  # arguments that set a run's exits
FIXED = ("point", "engine", "dtype", *EXITS, "certificate", "policies", "prepack")
SETTINGS = {"engine": "backend", "policies": "policy"}  # what commands call an argument


@dataclass(frozen=True, kw_only=True)
class Opener:
    """The arguments of `Model.open`, and the steps that follow from them."""

    path: str | Path
    point: Point | None
    engine: str | None
    dtype: str | None
    exit: Mapping[str, Any] | None
    budget: float | str | None
    agree: float | None
    certificate: str | None
    policies: Sequence[Policy] | None
    prepack: bool | None
    device: str
    threads: int | None
    batch: int
    long: LongTexts | None
    check: bool

    def model(self) -> Model:
        """Open the model, and set how it reads long texts."""
        self.check_point()
        certified = is_adapted(self.path)
        if certified:
            model = self.reranker() if is_of_lists(self.path) else self.adapted()
        else:
            model = self.export() if is_export(self.path) else self.run()
        usual = model.reader.long
        long = self.long or usual
        if certified and long != usual:
            tell(f"note: the certificate is for long={usual.mode}, and long={long.mode} is named")
        model.read_long(long)
        if self.certificate is not None and model.certificate is not None:
            model.certificate.check({"windows": long.described(model.max_length)})
        return model

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def check_point(self) -> None:
        if self.point is not None and self.certificate is not None:
            raise ConfigError(f"certificate={self.certificate} has a point: give one of the two")
        if self.point is not None and self.point.before is not None:
            raise ConfigError("point: a cascade is opened from the folder that adapt wrote")

    def refuse(self, names: Sequence[str], why: str) -> None:
        """Raise ConfigError if one of these arguments is given."""
        for name in names:
            given = getattr(self, name)
            values = given.values() if isinstance(given, Mapping) else [given]
            if any(value is not None for value in values):
                key = SETTINGS.get(name, name)
                raise ConfigError(f"{key} is not an option of run={self.path}: {why}")

    def adapted(self) -> Model:
        """Open a classifier that `adapt` wrote, as it was certified."""
        self.refuse(FIXED, "it runs as it was certified")
        about = AboutAdapted.read(self.folder)
        certificate = own_certificate(Bundle(self.folder), about.point)
        threads = self.threads or about.threads
        bundle = Bundle(self.folder)
        model = at_point(bundle, about, about.point, threads)
        model.certificate, model.candidates, model.threads = certificate, read_dial(bundle), threads
        model.scales = {int(layer): scale for layer, scale in about.scales.items()}
        model.read_long(about.long_texts)
        if self.check and (found := answered_canaries(model)).changed:
            raise ConfigError(f"run={self.path}: {found}")
        return model

    def reranker(self) -> Model:
        """Open a cross-encoder that `rerank` wrote, as it was certified."""
        self.refuse(FIXED, "it runs as it was certified")
        if self.check:
            raise ConfigError(f"run={self.path}: a reranker has no canaries to check")
        check_torch(self.path, "a reranker")
        from eat_lightning.bundle.reranker import ListModel

        about = AboutLists.read(self.folder)
        certificate = own_certificate(Bundle(self.folder), about.point)
        model = ListModel.of(self.folder, about.max_length, about.point, about.column)
        model.certificate, model.threads = certificate, self.threads
        return model

    def export(self) -> Model:
        """Open an export in the engine that is named, or in the faster of the two."""
        self.refuse((*EXITS, "prepack"), "the export has its exits in its graphs")
        named = "onnx" if self.point is None or self.point.engine == "torch" else self.point.engine
        engine = self.engine or named
        if engine == "auto":
            check_torch(self.path, "a run, or backend=auto,")
            from eat_lightning.bundle.race import EngineRace

            facts = {"export": GraphModel(self.folder).digest, "dtype": self.dtype or "fp32"}
            opens = {name: partial(self.graphs, name) for name in ENGINES}
            race = EngineRace(self.folder, digest_of(facts), facts["dtype"], opens)
            engine = race.fastest(self.batch)
        return self.graphs(engine)

    def graphs(self, engine: str) -> GraphModel:
        if engine not in ENGINES:
            raise ConfigError(f"backend={engine} is for runs, and {self.path} is an export")
        dtype = self.dtype
        if dtype is None and self.point is not None and self.point.dtype == "bf16":
            dtype = "bf16"
        graphs = GraphModel(self.folder, self.threads, engine, dtype)
        model = graphs.with_rules(self.certificate, self.policies)
        return model if self.point is None else model.at(self.point)

    def run(self) -> Model:
        """Open a run, in torch or by way of graphs of its own."""
        check_torch(self.path, "a run, or backend=auto,")
        import torch

        from eat_lightning.bundle.open_run import chosen_exits, open_in_torch
        from eat_lightning.bundle.run_graphs import RunGraphs
        from eat_lightning.runs.run import Run

        if self.threads:
            torch.set_num_threads(self.threads)
        run, point = Run.open(self.folder), self.point or Point()
        engine, dtype = self.engine or point.engine, self.dtype or point.dtype
        prepack, exits = self.prepack, dict(self.exit or {})
        if prepack is None and point.layout is not None:
            prepack = point.layout == "prepacked"
        exits |= {key: x for key in ("budget", "agree") if (x := getattr(self, key)) is not None}

        def in_torch() -> Model:
            given = exits, dtype, self.certificate, self.policies, prepack, self.device
            model = open_in_torch(run, *given)
            return model if self.point is None else model.at(self.point)

        if engine == "torch":
            return in_torch()
        encoder, labels = chosen_exits(run, exits)
        with reading("point"):
            encoder = encoder if self.point is None else self.point.on(encoder)
        policies = encoder.policies if self.policies is None else self.policies
        graphs = RunGraphs(run, encoder, labels, dtype, self.threads, policies, self.certificate)
        if engine == "auto":
            engine = graphs.fastest(in_torch, self.batch)
        return in_torch() if engine == "torch" else graphs.open(engine)


def at_point(bundle: Bundle, about: AboutAdapted, point: Point, threads: int | None) -> Model:
    """Open a bundle's classifier at a point, behind what answers before it."""
    folder = bundle.folder
    if point.before is not None:
        from eat_lightning.bundle.cascade import CascadeModel

        if point.falls_back:
            first = at_point(bundle, about, point.before, threads)
        else:
            small = AboutAdapted.read(bundle.before.folder)
            first = at_point(bundle.before, small, small.point, threads)
        second = at_point(bundle, about, point.alone, threads)
        return CascadeModel(folder, first, second, point.margin, point.falls_back)
    if point.engine != "torch":
        dtype = "bf16" if point.dtype == "bf16" else None
        graphs = bundle.graphs(point.engine, point.dtype)
        model = GraphModel(graphs, threads, point.engine, dtype)
        model.folder = folder  # that of canaries, certificate and drift's reference
        return model
    check_torch(folder, "a model that was certified in our kernels")
    from eat_lightning.bundle.kernels import open_in_kernels

    given = about.columns, about.labels, about.max_length
    return open_in_kernels(folder, about.kind, point, *given)


def answered_canaries(model: Model) -> CanaryCheck:
    """How an adapted classifier answers its canaries here. ConfigError where it has none."""
    from eat_lightning.bundle.canaries import Canaries  # brings pyarrow, which few commands need

    return Canaries.read(model.folder).check(model, AboutAdapted.read(model.folder).long_texts)


def load_folder(folder: str | Path, threads: int | None = None, check: bool = False) -> Model:
    """Do the work of `eat_lightning.load`."""
    if not Path(folder).exists():
        raise ValueError(f"folder={folder}: there is no such folder")
    try:
        if not is_adapted(folder):
            raise ConfigError(f"folder={folder}: neither `eat adapt` nor `eat rerank` wrote it")
        return Model.open(folder, threads=threads, check=check)
    except ConfigError as error:
        raise ValueError(str(error)) from None
