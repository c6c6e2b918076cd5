"""A bundle: the one kind of folder that `eat adapt` and `eat rerank` write, and that answers.

    config.json  model.safetensors  tokenizer*   the original, as transformers writes it
    bundle.json                                  what it answers, and the certified point
    exits/                                       heads and exit rule
    int8.safetensors                             factors of inputs, where it runs in int8
    dial.json                                    all points that were tried, with cost and agreement
    certificates/adapted.json                    the guarantee, and the files that it holds for
    graphs/<engine>-<dtype>/                     what an engine runs; each could stand alone
    before/                                      a bundle: the smaller model that answers first
    canaries.parquet                             texts with the logits that were certified
    drift.json                                   how texts leave, for a monitor
    model.onnx                                   the original as one graph, for other runtimes
    README.md  page.html                         for people

No other file joins these names. Weights are stored once for each precision: graphs in fp32 and
`model.onnx` read those of model.safetensors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eat_lightning.errors import ConfigError
from eat_lightning.files import folder_swap, link
from eat_lightning.untrusted import json_of
from eat_lightning.weights.files import BUNDLE, EXITS, FACTORS, OLD_BUNDLES

CERTIFICATE = "adapted"  # the name of the one that a bundle has
CANARIES, DRIFT = "canaries.parquet", "drift.json"
CLASSES, LISTS = "classes", "lists"  # what a bundle answers: texts, or lists of candidates


@dataclass(frozen=True)
class Bundle:
    """The places in a bundle."""

    folder: Path

    @classmethod
    def at(cls, path: str | Path) -> Bundle | None:
        """The bundle in a folder; None where it holds something else.

        Raises:
            ConfigError: where it is a folder of release 0.3.
        """
        made = cls(Path(path))
        if made.about.is_file():
            return made
        if made.is_old:
            how = f"eat convert old={path} to=<new folder> rewrites it"
            raise ConfigError(f"{path}: a folder of release 0.3, which had another layout: {how}")
        return None

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def about(self) -> Path:
        return self.folder / BUNDLE

    @property
    def exits(self) -> Path:
        return self.folder / EXITS

    @property
    def factors(self) -> Path:
        return self.folder / FACTORS

    @property
    def dial(self) -> Path:
        return self.folder / "dial.json"

    @property
    def before(self) -> Bundle:
        return Bundle(self.folder / "before")

    @property
    def canaries(self) -> Path:
        return self.folder / CANARIES

    @property
    def reference(self) -> Path:
        return self.folder / DRIFT

    @property
    def static_graph(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def static_weights(self) -> Path:
        """What `model.onnx` needs beside model.safetensors: weights of halves, or joined ones."""
        return self.folder / "model.onnx_data"  # the name that other tools look for

    @property
    def card(self) -> Path:
        return self.folder / "README.md"

    @property
    def page(self) -> Path:
        return self.folder / "page.html"

    def graphs(self, engine: str, dtype: str) -> Path:
        """The folder of the graphs that an engine runs in a precision."""
        return graphs_in(self.folder, engine, dtype)

    @property
    def is_old(self) -> bool:
        return any((self.folder / name).is_file() for name in OLD_BUNDLES)

    @property
    def is_of_lists(self) -> bool:
        """True where it answers lists; False too where that cannot be read."""
        try:
            return json_of(self.about).get("answers") == LISTS
        except (OSError, ValueError, AttributeError):
            return False

    def copy(self, to: Path) -> None:
        """Copy it to a new folder, in which shared weights stay shared. FileExistsError where there
        is one."""
        if to.exists():
            raise FileExistsError(f"{to} is there already")
        places: dict[tuple[int, int], str] = {}

        def copy(path: str, place: str) -> None:
            about = os.stat(path)
            file = about.st_dev, about.st_ino
            if about.st_nlink > 1 and file in places:
                link(Path(places[file]), Path(place))
            else:
                shutil.copy2(path, place)
            places[file] = place

        with folder_swap(to) as folder:
            shutil.copytree(self.folder, folder, copy_function=copy, dirs_exist_ok=True)


@contextmanager
def writing(to: str | Path) -> Iterator[Bundle]:
    """Yield a bundle beside `to`, which takes its place when all went well."""
    with folder_swap(Path(to)) as folder:
        yield Bundle(folder)


def graphs_in(folder: Path, engine: str, dtype: str) -> Path:
    """The folder of graphs in a bundle or a run."""
    return folder / "graphs" / f"{engine}-{dtype}"


def is_adapted(path: str | Path) -> bool:
    """True for a folder that `adapt` or `rerank` wrote. ConfigError for one of release 0.3."""
    return Bundle.at(path) is not None


def is_of_lists(path: str | Path) -> bool:
    """True for a folder that `rerank` wrote. ConfigError for one of release 0.3."""
    found = Bundle.at(path)
    return found is not None and found.is_of_lists
