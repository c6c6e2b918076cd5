"""Scratch of an unfinished adaptation: each step keeps its result, so that a killed one goes on.

Shapes: B examples, C classes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from eat_lightning.data.batching import sorted_batches
from eat_lightning.errors import ConfigError
from eat_lightning.files import replacing, write_json
from eat_lightning.model.trace import Trace
from eat_lightning.progress import bar
from eat_lightning.untrusted import json_of

LOCK = ".lock"
BATCH, PIECE = 32, 16  # examples of a batch, batches of a kept piece


@dataclass(frozen=True)
class Work:
    """A folder beside the one that is made, and removed once that is whole."""

    folder: Path
    lock: FileLock | None = None

    @classmethod
    def open(cls, to: Path, settings: dict[str, Any]) -> Work:
        """Go on in the folder of an earlier call with the same settings, or begin anew. ConfigError
        where another process is at work there."""
        folder = to.with_name(f"{to.name}.part")
        path = folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK, is_singleton=True)  # this process may try again
            lock.acquire(timeout=0)
            resumed = path.exists()
            if resumed and (differ := differing(path, settings)):
                print(f"{folder}: was begun with another {', '.join(differ)}, and begins anew")
                clear(folder)
                resumed = False
            write_json(path, settings)
        except Timeout:
            raise ConfigError(f"to={to}: another process is at work in {folder}") from None
        except OSError as error:
            raise ConfigError(f"to={to}: cannot be written ({error.strerror})") from None
        if resumed:
            print(f"{folder}: an adaptation that was not finished goes on")
        return cls(folder, lock)

    def close(self) -> None:
        """Let other processes work in the folder."""
        if self.lock is not None:
            self.lock.release()

    def remove(self) -> None:
        """Remove the folder, since what it was for is made."""
        self.close()
        shutil.rmtree(self.folder)

    def json(self, name: str, make: Callable[[], Any]) -> Any:
        """Read a kept result, or make and keep it."""
        path = self.folder / f"{name}.json"
        if not path.is_file():
            write_json(path, make())
        return json_of(path)

    def trace(
        self, name: str, split: Any, answer: Callable[[Any], Trace], title: str | None = None
    ) -> Trace:
        """Answer all examples of a split by batches, a kept piece of them after another; logits,
        depths and numbers of tokens are kept.

        Args:
            title: of the progress; None: the name.
        """
        batches = sorted_batches(split.lengths, BATCH)
        pieces = [batches[i : i + PIECE] for i in range(0, len(batches), PIECE)]
        found = []
        with bar(title or name, len(split)) as advance:
            for number, piece in enumerate(pieces):
                path = self.folder / "passes" / f"{name.replace(' ', '-')}-{number:04d}.npz"
                if not path.is_file():
                    # Batches number their rows anew, which would put them in another order.
                    answers = [
                        replace(answer(split.batch(rows_B)), rows_B=None) for rows_B in piece
                    ]
                    with replacing(path) as beside, beside.open("wb") as file:
                        np.savez(file, **columns_of(Trace.together(answers)))
                with np.load(path, allow_pickle=False) as kept:
                    rows_B = np.concatenate(piece)
                    found.append(Trace(**kept, rows_B=rows_B))
                advance(len(rows_B))
        return Trace.together(found)


def columns_of(trace: Trace) -> dict[str, Any]:
    """The parts of a trace that are kept; transformers' own model counts no tokens."""
    kept = {"logits_BC": trace.logits_BC, "depth_B": trace.depth_B}
    return kept if trace.tokens_LB is None else kept | {"tokens_LB": trace.tokens_LB}


def clear(folder: Path) -> None:
    """Delete all of a folder but its lock, which is held."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def differing(path: Path, settings: dict[str, Any]) -> list[str]:
    """List the keys in which an earlier call's settings differ."""
    try:
        kept = json_of(path)
    except (ValueError, OSError):
        kept = None
    kept = kept if isinstance(kept, dict) else {}
    keys = kept.keys() | settings.keys()
    return sorted(key for key in keys if kept.get(key, path) != settings.get(key, path))
