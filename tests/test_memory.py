"""What a command's process keeps of the memory that it frees."""

import ctypes
import subprocess
import sys

import pytest

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
BATCHES = """
import resource
import numpy as np
from eat_lightning.process import keep_freed_memory

def batch():
    three = [np.ones(5 << 17) for _ in range(3)]  # 5 MB each

keep_freed_memory()
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
@pytest.mark.parametrize("environment", [{}, {"MALLOC_TRIM_THRESHOLD_": "1000000"}])
def test_pages_are_kept_for_the_next_batch(environment: dict[str, str]):
    """Ten batches of 15 MB ask for no new page (of 38,400); the environment goes first."""
    asked = subprocess.run(
        [sys.executable, "-c", BATCHES], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(asked.stdout) < 1000) == (not environment)
