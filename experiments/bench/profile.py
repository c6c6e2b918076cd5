"""Where the time of the static encoder goes on a processor, by PyTorch's profiler: shares of one
thread's time, which hold on a machine that does other things too.

    python experiments/bench/profile.py > profile.md
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from eat_lightning.infer.precision import in_dtype
from eat_lightning.infer.prepacked import prepacked
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from experiments.bench.candidates import bare, random_encoder
from experiments.bench.workload import draw, pools

SHAPE = Shape(30522, 768, 12, 12, 3072)  # BERT-base's, as MPNet-base's
PARTS = {  # a part's operators; GELU and residuals are within the products, softmax in attention
    "products": ("mkldnn::_linear_pointwise",),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::where"),
    "gathers": ("aten::index_select",),
    "norms": ("aten::native_layer_norm",),
    "sums": ("aten::add",),
    "heads": ("aten::addmm",),
}


def main() -> None:
    torch.set_num_threads(1)
    lengths_B = pools(None, ["sst2"])["sst2"].lengths_B
    encoder = bare(random_encoder(SHAPE))
    print("| dtype | batch |", " | ".join(PARTS), "| views and dispatch |")
    print("|---|---|" + "---:|" * (len(PARTS) + 1))
    for dtype in ("fp32", "bf16"):
        body = prepacked(in_dtype(encoder, dtype))
        for size, order in ((1, "as they come"), (32, "sorted"), (32, "as they come")):
            rows = draw(lengths_B, size, max(size, 8), order, 0)
            found = shares(body, [batch_of(lengths_B[chosen]) for chosen in rows])
            cells = " | ".join(f"{100 * share:.1f}" for share in found)
            print(f"| {dtype} | {size}, {order} | {cells} |", flush=True)


def batch_of(lengths_B: np.ndarray) -> Batch:
    random = np.random.default_rng(0)
    return Batch.from_lists([random.integers(1, 30_000, n).tolist() for n in lengths_B])


def shares(body: torch.nn.Module, batches: Sequence[Batch]) -> list[float]:
    """The share of each part, and of the rest."""
    with torch.inference_mode():
        for batch in batches:
            body(batch)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for batch in batches:
                body(batch)
    spent = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(spent.values())
    found = [sum(spent.get(name, 0) for name in names) / total for names in PARTS.values()]
    return [*found, 1 - sum(found)]


if __name__ == "__main__":
    main()
