"""Export a finished run as a plain smaller encoder with fewer heads, inner neurons and layers
(Michel et al. 2019; DynaBERT, Hou et al. 2020; CoFi, Xia et al. 2022).

The result is a run folder, so that every command accepts it and training can continue from it.
Shapes: M kept heads or inner neurons.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from eat_lightning.bundle.graphs.plan import NARROWED, ExportSettings
from eat_lightning.data.batching import spread_batches
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import folder_swap
from eat_lightning.methods.objective._importance import best_of, importance
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import Specification, build_all, class_of, specs_by_slot
from eat_lightning.model.widths import Kept, cut_layer, in_order, living, rows_of
from eat_lightning.runs.card import write_card
from eat_lightning.runs.run import Run, git_commit, write_json, write_text
from eat_lightning.validation import Count, value_faults
from eat_lightning.weights.checkpoint import pick_layers, save_model

BATCH = 8  # examples whose losses are added up before the absolute value is taken


def export_narrowed(
    run: Run, encoder: AdaptiveEncoder, labels: list[str], plan: ExportSettings
) -> Path:
    """Choose what to keep, and write the folder.

    Raises:
        ConfigError: where the encoder cannot be narrowed this far.
    """
    kept = kept_of(run, encoder, plan)
    made = narrowed(encoder, kept)
    about = {
        "run": run.name,
        "layers": [k + 1 for k in kept.layers],
        "heads": [len(heads_M) for heads_M in kept.heads],
        "inner": [len(inner_M) for inner_M in kept.inner],
        "commit": git_commit(),
    }
    with folder_swap(plan.folder) as folder:
        write_run(run, made, labels, about, folder)
    write_card(Run.open(plan.folder))
    print(f"{plan.folder}: {summary(about)}")
    return plan.folder


def kept_of(run: Run, encoder: AdaptiveEncoder, plan: ExportSettings) -> Kept:
    """Return the heads and neurons to keep.

    With requested numbers, they are the most important ones on training data, or the first ones if
    training ordered them by importance. Otherwise they are all with nonzero weights.
    """
    if encoder.shape.layer_groups:
        raise ConfigError("this encoder's layers share their weights: none can be narrowed alone")
    if not plan.numbers:
        kept = living(encoder)
        shape = encoder.shape
        sizes = [shape.at(k + 1) for k in range(shape.num_layers)]
        have = [(size.num_heads, size.intermediate_size) for size in sizes]
        if have == [(len(h), len(f)) for h, f in zip(kept.heads, kept.inner, strict=True)]:
            raise ConfigError(
                "target=encoder narrows a run: give heads=, inner= or layers= (this run has no "
                "head or neuron with all-zero weights to remove)"
            )
        return kept
    heads = plan.heads or encoder.shape.num_heads
    inner = plan.inner or encoder.shape.intermediate_size
    Faults(width_faults(encoder, heads, inner, plan.layers)).check()
    if is_ordered(run):
        return in_order(encoder, heads, inner, plan.layers)
    split = run.data(dir=plan.data.dir).split("train")
    found = importance(encoder, spread_batches(split, plan.examples, BATCH))
    best = best_of(found, heads, inner)
    layers = in_order(encoder, heads, inner, plan.layers).layers
    return Kept(layers, [best.heads[k] for k in layers], [best.inner[k] for k in layers])


def is_ordered(run: Run) -> bool:
    """True if the run's training ordered heads and neurons by importance, as DynaBERT's does."""
    objective = run.model_config().get("objective") or {}
    try:
        return class_of("objective", objective.get("kind", "joint")).ordered
    except ValueError:  # a class of the user's own that nobody has imported
        return False


def summary(about: dict[str, Any]) -> str:
    """Describe the remaining heads and neurons in one line."""
    widths = [f"{len(about['layers'])} layers"]
    for key, what in (("heads", "heads"), ("inner", "inner neurons")):
        counts = about[key]
        same = len({*counts}) == 1
        widths.append(f"{counts[0] if same else ', '.join(map(str, counts))} {what}")
    return " of ".join((widths[0], " and ".join(widths[1:])))


def write_run(
    run: Run, made: AdaptiveEncoder, labels: list[str], about: dict[str, Any], folder: Path
) -> None:
    """Write the run's settings and records with another model and another name."""
    before = run.model_config()
    objective = before.get("objective")
    trained = None if objective is None else Specification.read("objective", objective)
    save_model(made, labels, folder / "model", trained)
    run.tokenizer().save_pretrained(folder / "model")
    sizes = "-".join(f"{key[0]}{max(about[key])}" for key in ("heads", "inner"))
    depth = f"-l{made.shape.num_layers}" if made.shape.num_layers < before["num_layers"] else ""
    name = f"{run.config.get('model', run.name)}-{sizes}{depth}"
    write_text(folder / "config.yaml", yaml.safe_dump(run.config | {"model": name}))
    write_json(folder / NARROWED, about)
    write_json(folder / "done.json", run.done)


def width_faults(
    encoder: AdaptiveEncoder, heads: int, inner: int, depth: int | None = None
) -> list[str]:
    """List errors in the numbers of heads, inner neurons and layers to keep."""
    shape, faults = encoder.shape, []
    for key, value, most in (
        ("heads", heads, shape.num_heads),
        ("inner", inner, shape.intermediate_size),
        ("layers", shape.num_layers if depth is None else depth, shape.num_layers),
    ):
        faults += (wrong := value_faults(Count, key, value))
        if not wrong and value > most:
            faults.append(f"{key} must be in 1..{most}, got {value}")
    per_head = encoder.relative is not None and encoder.relative.per_head
    if per_head and heads != shape.num_heads:
        faults.append(
            f"heads must be {shape.num_heads}, got {heads}: this encoder's layers share a "
            "relative-position bias of that many heads"
        )
    named = [*encoder.reduction.layers, *encoder.exit.layers, *encoder.head["layers"][:-1]]
    if depth not in (None, shape.num_layers) and named:
        faults.append(
            f"layers must be {shape.num_layers}, got {depth}: early heads, exit rule or reduction "
            "of this run name layers by number"
        )
    return faults


def narrowed(encoder: AdaptiveEncoder, kept: Kept) -> AdaptiveEncoder:
    """Return a plain encoder of the kept parts, in order, with everything else unchanged, including
    learned parameters of methods.

    Raises:
        ConfigError: where a method has parameters for each head or layer.
    """
    shape = shape_of(encoder, kept)
    methods = build_all(specs_by_slot(encoder), shape.num_layers)
    head = encoder.head
    if len(kept.layers) < encoder.shape.num_layers:
        head = head | {"layers": []}  # the last, which is at another layer now
    made = AdaptiveEncoder(
        shape,
        encoder.num_labels,
        **methods,
        head=head,
        policies=encoder.policies,
        kind=encoder.kind,
    )
    try:
        made.load_state_dict(cut(encoder, kept))
    except RuntimeError as error:
        message = " ".join(str(error).split())[-200:]
        raise ConfigError(
            f"heads: a method of this run has a weight for each ({message})"
        ) from None
    return made.eval()


def shape_of(encoder: AdaptiveEncoder, kept: Kept) -> Shape:
    """Return the shape of what is kept, by layer where layers differ."""
    heads, inner = [len(h) for h in kept.heads], [len(f) for f in kept.inner]
    return replace(
        encoder.shape.of_layers(kept.layers),
        num_heads=max(heads),
        head_width=encoder.shape.width_of_head,
        intermediate_size=max(inner),
        heads_by_layer=tuple(heads) if len({*heads}) > 1 else None,
        inner_by_layer=tuple(inner) if len({*inner}) > 1 else None,
    )


def cut(encoder: AdaptiveEncoder, kept: Kept) -> dict[str, Tensor]:
    """Return all weights of the smaller encoder, by name."""
    width = encoder.shape.width_of_head
    old, new = f"heads.{encoder.shape.num_layers}.", f"heads.{len(kept.layers)}."  # the last one's
    whole = pick_layers(encoder.state_dict(), kept.layers)
    renamed = {new + n.removeprefix(old) if n.startswith(old) else n: w for n, w in whole.items()}
    for i, (heads_M, inner_M) in enumerate(zip(kept.heads, kept.inner, strict=True)):
        home = f"layers.{i}."
        layer_weights = {n.removeprefix(home): w for n, w in renamed.items() if n.startswith(home)}
        narrow = cut_layer(layer_weights, rows_of(heads_M, width), inner_M)
        renamed |= {home + name: weight for name, weight in narrow.items()}
    return renamed
