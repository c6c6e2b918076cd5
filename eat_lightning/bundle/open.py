"""Open what a command's settings name: a run, an export, or a folder that `adapt` wrote.

Where graphs run it, torch is not imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eat_lightning.bundle.adapted import FIRST_GRAPHS, GRAPHS, SMALL, AboutAdapted, AdaptedHome
from eat_lightning.bundle.backend import Backend
from eat_lightning.bundle.exports import certificate_of, open_export
from eat_lightning.bundle.onnx_backend import Export
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.bundle.plan import check_torch, is_adapted, is_of_lists, tell
from eat_lightning.errors import ConfigError
from eat_lightning.model.policies import policies_of
from eat_lightning.record.point import Point

if TYPE_CHECKING:
    from eat_lightning.bundle.canaries import CanaryCheck
    from eat_lightning.bundle.plan import ModelSettings


def open_backend(plan: ModelSettings, export: str | None = None) -> Backend:
    """Open the run of a plan, or an export (the run's place may name one too), with the plan's
    exits, policies, certificate, threads and reading of long texts, in the plan's engine.
    ConfigError with every fault."""
    backend = in_its_engine(plan, export)
    usual = backend.reader.long
    long = plan.long_texts or usual
    if is_adapted(plan.run) and long != usual:
        tell(f"note: the certificate is for long={usual.mode}, and long={long.mode} is named")
    backend.read_long(long)
    if plan.certificate is not None:
        certificate = certificate_of(backend, plan.certificate)
        certificate.check({"windows": long.described(backend.max_length)})
    return backend


def in_its_engine(plan: ModelSettings, export: str | None) -> Backend:
    """Open a model in the engine that its settings name, or for which it was certified."""
    if export is None and is_of_lists(plan.run):
        check_torch(plan.run, "a reranker")
        from eat_lightning.bundle.reranker import open_lists

        return in_threads(open_lists(plan.run), plan.threads)
    if export is None and is_adapted(plan.run):
        threads = plan.threads or AboutAdapted.read(Path(plan.run)).threads
        return in_threads(open_adapted(plan.run, threads), threads)
    folder = Path(export or plan.run)
    if plan.backend in ("onnx", "openvino") and (export is not None or is_export(folder)):
        dtype = "bf16" if plan.dtype == "bf16" else None
        graphs = Export(folder, plan.threads, plan.backend, dtype)
        return open_export(graphs, plan.certificate, policies_of(plan.policy))
    check_torch(folder, "a run, or backend=auto,")
    from eat_lightning.bundle.models import open_model

    return open_model(plan, export)


def in_threads(backend: Backend, threads: int | None) -> Backend:
    """The same backend; torch, where it answers, has these threads from here on."""
    if threads and not isinstance(backend, Export):
        import torch

        torch.set_num_threads(threads)
    return backend


def open_adapted(path: str | Path, threads: int | None = None, check: bool = False) -> Backend:
    """The classifier as it was certified. ConfigError for a damaged folder.

    Args:
        threads: of an engine; None: those with which it was timed.
        check: let it answer its canaries; ConfigError where an answer is not the certified one.
    """
    folder = Path(path)
    about = AboutAdapted.read(folder)
    AdaptedHome(folder).certificate(about.point)
    threads = threads or about.threads
    made = open_alone(folder, about, threads)
    if about.point.before is not None:
        made = open_behind(open_first(folder, about, threads), made, folder, about.point)
    made.scales = {int(layer): s for layer, s in about.scales.items()}
    made.read_long(about.long_texts)
    if check and (found := answered_canaries(folder, made)).changed:
        raise ConfigError(f"run={folder}: {found}")
    return made


def answered_canaries(folder: Path, backend: Backend) -> CanaryCheck:
    """How the classifier of a folder answers its canaries here. ConfigError where it has none."""
    from eat_lightning.bundle.canaries import Canaries  # brings pyarrow, which few commands need

    return Canaries.read(folder).check(backend, AboutAdapted.read(folder).long_texts)


def open_first(folder: Path, about: AboutAdapted, threads: int | None) -> Backend:
    """Open what answers first: the folder's own model, or a small one."""
    assert about.point.before is not None
    if about.point.falls_back:
        return open_alone(folder, replace(about, point=about.point.before), threads, FIRST_GRAPHS)
    return open_alone(folder / SMALL, AboutAdapted.read(folder / SMALL), threads)


def open_behind(first: Backend, second: Backend, folder: Path, point: Point) -> Backend:
    """Join two classifiers that a point has in a row."""
    check_torch(folder, "answering again" if point.falls_back else "a cascade")
    from eat_lightning.bundle.cascade import CascadeBackend

    return CascadeBackend(folder, first, second, point.margin, point.falls_back)


def open_alone(
    folder: Path, about: AboutAdapted, threads: int | None, graphs: Path = GRAPHS
) -> Backend:
    """Open one classifier of a folder.

    Args:
        graphs: the folder's, where an engine runs it.
    """
    point = about.point
    if point.engine != "torch":
        dtype = "bf16" if point.dtype == "bf16" else None
        return open_export(Export(folder / graphs, threads, point.engine, dtype))
    check_torch(folder, "a model that was certified in our kernels")
    from eat_lightning.bundle.kernels import open_in_kernels

    given = about.columns, about.labels, about.max_length
    return open_in_kernels(folder, about.kind, point, *given)
