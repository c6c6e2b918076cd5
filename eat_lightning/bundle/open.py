"""Open what a command's settings name: a run, an export, or a folder that `adapt` wrote.

Where graphs run it, torch is not imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eat_lightning.bundle.adapted import AboutAdapted, open_adapted
from eat_lightning.bundle.exports import certificate_of, open_export
from eat_lightning.bundle.onnx_backend import Export
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.bundle.plan import check_torch, is_adapted, is_of_lists, tell
from eat_lightning.model.policies import policies_of

if TYPE_CHECKING:
    from eat_lightning.bundle.backend import Backend
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
