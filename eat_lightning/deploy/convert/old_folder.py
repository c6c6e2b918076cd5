"""A folder that `adapt` or `rerank` of release 0.3 wrote, to be rewritten as a bundle.

It is told by adapted.json or lists.json, with graphs in onnx/, a smaller model in small/ and every
weight up to three times. 0.3.0 had engine and precision in place of a point; what was written
between 0.3.0 and this layout has a point and a certificate of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eat_lightning.bundle.adapted import (
    AboutAdapted,
    AboutFolder,
    AboutLists,
    graphs_of,
    write_dial,
)
from eat_lightning.bundle.bundle import CERTIFICATE, DRIFT, Bundle
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.onnx_runner import check_file
from eat_lightning.errors import ConfigError, reading
from eat_lightning.files import sha256_of
from eat_lightning.machine import MACHINE
from eat_lightning.model.specification import STATIC
from eat_lightning.record.certificate import Certificate, path_of
from eat_lightning.record.claim import Claim, Tally, agreement
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.untrusted import json_of
from eat_lightning.weights.files import EXITS, OLD_BUNDLES, SAFE, weight_files, weights_digest

CLASSES, LISTS = OLD_BUNDLES
SMALL = "small"
GRAPHS = {"graphs": "onnx/adapted", "first graphs": "onnx/first"}  # by their name in a certificate
STATIC_GRAPH = "onnx/model.onnx"


@dataclass(frozen=True)
class OldFolder:
    """What a folder of release 0.3 says of itself.

    Args:
        certificate: bound to the old files; None for the smaller model of a cascade.
    """

    folder: Path
    about: AboutFolder
    candidates: list[Measured] = field(default_factory=list)
    certificate: Certificate | None = None

    @classmethod
    def read(cls, folder: Path) -> OldFolder:
        """ConfigError, in one line, for a folder that is damaged, or of an older release."""
        is_lists = (folder / LISTS).is_file()
        path = folder / (LISTS if is_lists else CLASSES)
        with reading(path):
            found = json_of(path)
            if "point" not in found:
                return of_release(folder, found, is_lists)
            given = [Measured.read(each) for each in found.pop("candidates", [])]
            about: AboutFolder = (AboutLists if is_lists else AboutAdapted)(**found)
        certificate = path_of(folder, CERTIFICATE)
        if certificate.is_file():
            return cls(folder, about, given, Certificate.read(Bundle(folder), CERTIFICATE))
        return cls(folder, about, given)

    @property
    def first(self) -> OldFolder | None:
        """The smaller model that answers before it."""
        has = (self.folder / SMALL / CLASSES).is_file()
        return OldFolder.read(self.folder / SMALL) if has else None

    def bound(self) -> dict[str, Any]:
        """The point, and hashes of the files that decide what it answers, as 0.3 hashed them."""
        point, exits = self.about.point, self.folder / EXITS
        found: dict[str, Any] = {"point": point.as_dict(), "weights": weights_digest(self.folder)}
        if exits.is_dir():
            found["exits"] = sha256_of([exits / name for name in (SAFE, "config.json")])
        for name in graphs_of(point):
            found[name] = GraphModel(self.folder / GRAPHS[name]).digest
        if self.first is not None:
            found["small model"] = sha256_of([self.folder / SMALL / CLASSES])
            found |= {f"small {name}": one for name, one in self.first.bound().items()}
        return found

    def check(self) -> Certificate:
        """Its certificate. ConfigError, in one line, where its files are not those of it."""
        if self.certificate is None:
            raise ConfigError(f"old={self.folder}: has no certificate, so it cannot be converted")
        self.compare(self.certificate.holds_for)
        return self.certificate

    def compare(self, holds_for: Mapping[str, Any]) -> None:
        """Raise ConfigError, in one line, where files are not those that were hashed."""
        for name, digest in self.bound().items():
            if name in holds_for and holds_for[name] != digest:
                where = f"old={self.folder}: its {name} are not"
                raise ConfigError(f"{where} those it was certified with")

    def write(self, bundle: Bundle) -> Iterator[str]:
        """Write all but certificate and drift's reference; yields what went where."""
        bundle.folder.mkdir(exist_ok=True)
        for path in files_of(self.folder):
            shutil.copyfile(path, bundle.folder / path.name)
        if (self.folder / EXITS).is_dir():
            shutil.copytree(self.folder / EXITS, bundle.exits)
        for name, point in graphs_of(self.about.point).items():
            to = bundle.graphs(point.engine, point.dtype)
            copy_graphs(self.folder / GRAPHS[name], to, weight_files(bundle.folder))
            yield f"{GRAPHS[name]} -> {to.relative_to(bundle.folder)}"
        if (self.folder / STATIC_GRAPH).is_file():
            copy_static_graph(self.folder / STATIC_GRAPH, bundle)
            yield f"{STATIC_GRAPH} -> {bundle.static_graph.name}"
        if self.first is not None:
            yield from (f"{SMALL}: {line}" for line in self.first.write(bundle.before))
            yield f"{SMALL} -> {bundle.before.folder.name}"
        self.about.write(bundle.folder)
        if self.candidates:
            write_dial(bundle, self.candidates)


def files_of(folder: Path) -> list[Path]:
    """The files beside an old description that stay as they are. ConfigError for a link."""
    found = sorted(p for p in folder.iterdir() if p.name not in (*OLD_BUNDLES, DRIFT))
    found = [path for path in found if path.is_symlink() or not path.is_dir()]
    for path in found:
        with reading(path):
            check_file(path)
    return found


def copy_graphs(graphs: Path, to: Path, weights: list[Path]) -> None:
    """Copy graphs, of which those in fp32 share the classifier's weights."""
    from eat_lightning.bundle.graphs.weights import copy_sharing  # brings onnx

    has_same = GraphModel(graphs).about["dtype"] == "fp32"
    copy_sharing(graphs, to, weights if has_same else [])


def copy_static_graph(path: Path, bundle: Bundle) -> None:
    import onnx

    from eat_lightning.bundle.graphs.weights import save_beside

    save_beside(onnx.load(path), bundle)


def of_release(folder: Path, found: Mapping[str, Any], is_lists: bool) -> OldFolder:
    """Read what 0.3.0 wrote: engine and precision in place of a point, and the certificate's counts
    in the same file. Its table of candidates is left out, whose points have no names of methods."""
    kept, certificate = dict(found), found["certificate"]
    for name in ("engine", "holds_for", "certificate", "candidates", "small_least", "dtype"):
        kept.pop(name, None)
    if is_lists:
        counts = {int(depth): num for depth, num in kept.pop("counts").items()}
        about: AboutFolder = AboutLists(
            **kept, point=Point(dtype=found.get("dtype", "fp32"), counts=counts)
        )
    else:
        about = AboutAdapted(**kept, point=point_of(folder, found))
    if not certificate:
        small = OldFolder(folder, about)
        small.compare(found["holds_for"])
        return small
    agree, confidence = certificate["agree"], certificate["confidence"]
    if is_lists:
        claims = [Claim("lost_candidates", round(1 - agree, 12), confidence)]
        names = ("lost", "swapped", "swapped_at_most", "cost", "ms")
        seen = {name: certificate[name] for name in names} | {"num_lists": certificate["lists"]}
        tallies = []
    else:
        claims = agreement(agree, confidence, certificate["per_class"])
        counted = [*zip(claims, certificate["counts"], strict=True)]
        tallies = [Tally(claim, each["num"], each["changed"]) for claim, each in counted]
        seen = {"num_examples": tallies[0].num}
    processor = str(found["holds_for"].get("machine", "")).rpartition(" x")[0]
    holds_for = found["holds_for"] | {"point": about.point.as_dict()}
    holds_for |= {MACHINE: {"processor": processor, "instructions": []}}
    made = Certificate(
        CERTIFICATE, claims, certificate["promise"], holds_for, tallies=tallies, seen=seen
    )
    return OldFolder(folder, about, certificate=made)


def point_of(folder: Path, found: Mapping[str, Any]) -> Point:
    """The point of a folder that 0.3.0 wrote."""
    from eat_lightning.weights.exits import exits_beside  # brings torch

    exit = exits_beside(folder).get("exit", STATIC["exit"])
    given: dict[str, Any] = {"engine": found["engine"], "dtype": found["dtype"]}
    given |= {"methods": {"exit": exit}}
    if found.get("small_least") is not None:
        small = json_of(folder / SMALL / CLASSES)
        before = Point.whole(small["engine"], small["dtype"], SMALL)
        given |= {"before": before, "margin": found["small_least"]}
    return Point(**given)
