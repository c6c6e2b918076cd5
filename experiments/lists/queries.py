"""Write lists of QNLI for `eat adapt queries=`, questions that tuning has not seen.

python -m experiments.lists.queries data=FOLDER to=FILE.jsonl [lists=420]
eat adapt model=FOLDER queries=FILE.jsonl to=FOLDER agree=0.95 shares=[0.3,0.2,0.5]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from experiments.lists.data import qnli


def main(data: str, to: str, lists: str = "420") -> None:
    some = qnli(Path(data), "validation", int(lists))
    rows = zip(some.queries_Q, some.passages_QN, strict=True)
    lines = [json.dumps({"query": query, "candidates": texts}) for query, texts in rows]
    Path(to).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
