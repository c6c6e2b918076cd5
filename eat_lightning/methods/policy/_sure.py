"""How sure an example's last guess is.

Shapes: B examples, E exits so far, C classes.
"""

import numpy as np
from jaxtyping import Float

from eat_lightning.infer.onnx_runner import softmax


def confidence(logits_EBC: Float[np.ndarray, "e b c"]) -> Float[np.ndarray, " b"]:
    """The largest class probability at the last exit so far."""
    return softmax(logits_EBC[-1]).max(-1)
