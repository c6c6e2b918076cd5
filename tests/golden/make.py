"""`python -m tests.golden.make` writes the golden files anew, and checks that they are sound.

Sound means that no answer changes where each weight differs by a millionth: then no decision lies
within rounding of a threshold. `python -m tests.golden.make exits` also trains the exits of the
adapted classifiers anew.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
JITTERS = 3
PARALLEL = ("-n", "2", "--dist", "loadfile")  # a process writes the files of its modules alone


def main() -> None:
    """Write, and check once as they are and once for each jitter."""
    wanted = {"EAT_GOLDEN_WRITE": "1"}
    if sys.argv[1:] == ["exits"]:
        wanted["EAT_GOLDEN_EXITS"] = "1"
    elif sys.argv[1:]:
        sys.exit("usage: python -m tests.golden.make [exits]")
    shutil.rmtree(HERE / "answers", ignore_errors=True)
    for settings in (wanted, {}, *({"EAT_GOLDEN_JITTER": str(n + 1)} for n in range(JITTERS))):
        print(*(f"{key}={value}" for key, value in settings.items()), flush=True)
        words = [sys.executable, "-m", "pytest", "-q", "-m", "", *PARALLEL, str(HERE)]
        done = subprocess.run(words, cwd=ROOT, env=os.environ | settings)
        if done.returncode:
            sys.exit("not sound: move the threshold or change the text that is named above")


if __name__ == "__main__":
    main()
