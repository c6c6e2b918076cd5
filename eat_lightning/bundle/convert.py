"""`python -m eat_lightning.convert old=<folder> to=<folder>`: rewrite a folder of release 0.3 as a
bundle.

Such a folder is told by adapted.json or lists.json. It held graphs in onnx/, a smaller model in
small/ and every weight up to three times. Weights, exits and graphs compute what they did, so that
the certificate stays in force: it is checked against the old files, and bound to the new ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eat_lightning.bundle.adapted import (
    AboutAdapted,
    AboutFolder,
    AboutLists,
    bound,
    graphs_of,
    write_dial,
)
from eat_lightning.bundle.bundle import CERTIFICATE, DRIFT, Bundle, writing
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.onnx_runner import check_file, is_export
from eat_lightning.cli import entry
from eat_lightning.config import Settings, parsed
from eat_lightning.errors import ConfigError, reading
from eat_lightning.files import sha256_of, write_json
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


class ConvertSettings(Settings):
    """Settings of `convert`."""

    old: str | None
    to: str | None

    def rules(self) -> Iterator[str]:
        if not self.old:
            yield "old must name a folder of release 0.3: old=..."
        if not self.to:
            yield "to must name a new folder: to=..."
        elif Path(self.to).exists():
            yield f"to={self.to} is there already: name another folder"
        if self.old:
            yield from old_faults(Path(self.old))


def old_faults(folder: Path) -> Iterator[str]:
    """Say why a folder cannot be converted, as far as its names tell."""
    if not folder.is_dir():
        yield f"old={folder}: there is no such folder"
    elif Bundle(folder).about.is_file():
        yield f"old={folder} has the layout of this release: there is nothing to convert"
    elif is_export(folder):
        yield f"old={folder} is an export, whose format is that of 0.3: it runs as it is"
    elif not Bundle(folder).is_old:
        yield f"old={folder}: neither {CLASSES} nor {LISTS}, which release 0.3 wrote, is in it"


@dataclass(frozen=True)
class OldFolder:
    """What a folder of release 0.3 says of itself.

    Args:
        certificate: None for the smaller model of a cascade, which has none.
        checked: what its certificate is bound to: of 0.3.0 the files, later the point as well.
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
        for name, digest in self.bound().items():
            if name in self.certificate.holds_for and self.certificate.holds_for[name] != digest:
                raise ConfigError(
                    f"old={self.folder}: its {name} are not those it was certified with"
                )
        return self.certificate

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
        return OldFolder(folder, about)
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
    holds_for = found["holds_for"] | {MACHINE: {"processor": processor, "instructions": []}}
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


def rebind(old: Certificate, bundle: Bundle, point: Point) -> dict[str, Any]:
    """What a certificate holds for in a bundle: its files, with the old versions and machine."""
    return {**old.holds_for, **bound(bundle, point)}


def convert(config: dict[str, Any]) -> Path:
    """Write the bundle and return its folder.

    Raises:
        ConfigError: in one line, for a folder that cannot be converted; nothing is then written.
    """
    plan = parsed(ConvertSettings, config)
    source, to = Path(plan.old or ""), Path(plan.to or "")  # both are named, by the rules
    old = OldFolder.read(source)
    certificate = old.check()
    with writing(to) as bundle:
        lines = [*old.write(bundle)]
        holds_for = rebind(certificate, bundle, old.about.point)
        fields = {**vars(certificate), "holds_for": holds_for}
        write_json(path_of(bundle.folder, CERTIFICATE), plain(fields))
        Certificate.read(bundle, CERTIFICATE)
        if (source / DRIFT).is_file():
            write_json(bundle.reference, rebound(json_of(source / DRIFT), holds_for))
    for line in lines:
        print(f"  {line}")
    print(f"{to}: converted, {megabytes(source)} -> {megabytes(to)}")
    return to


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a certificate, without what it keeps of them once they are read."""
    return {name: fields[name] for name in Certificate.__dataclass_fields__}


def rebound(reference: Mapping[str, Any], holds_for: Mapping[str, Any]) -> dict[str, Any]:
    """A drift reference, bound to the same files as the certificate that it was made with."""
    kept = {k: holds_for.get(k, one) for k, one in reference["holds_for"].items()}
    return {**reference, "holds_for": json.loads(json.dumps(kept))}


def megabytes(folder: Path) -> str:
    """The size of a folder, in which a file of two names counts once."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    size = sum({each.st_ino: each.st_size for each in stats}.values())
    return f"{size / 1e6:.1f} MB"


main = entry("convert", convert)
