"""How much memory an operation takes."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """Watches how many bytes the largest tensor has that any operation makes in memory."""

    num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves(made) if isinstance(each, torch.Tensor)]
        sizes = [tensor.untyped_storage().nbytes() for tensor in tensors if not tensor.is_meta]
        self.num_bytes = max([self.num_bytes, *sizes])
        return made
