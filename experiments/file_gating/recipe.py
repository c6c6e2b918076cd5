"""Complete files of known type, rightly and wrongly named, as a data set for the task file_gating.

    python -m experiments.file_gating.recipe to=FOLDER [seed=0] [per_ext=60] [per_maker=24]

Files of Debian and Python packages on this machine, with the package's word for their extension,
and files made with the tools that own the formats. Writes FOLDER/file_gating/{train, validation,
end_lost}.parquet and peers.jsonl: what libmagic and magika, where they are installed, say of the
complete files. Only made-up names and the first bytes are kept.
"""

from __future__ import annotations

import csv
import hashlib
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import replacing
from eat_lightning.report.result import Result
from eat_lightning.report.study import grouped_by
from eat_lightning.runs import jsonl

from .files import (
    ANYTHING,
    FORMATS,
    GROUP_OF,
    LABELS,
    MATCHING,
    MIME_OF,
    MISMATCH,
    UNKNOWN,
    extension,
    group_of_mime,
    texts,
    verdict,
)
from .makers import MAKERS

MOST = 1 << 20  # bytes: larger files are left where they are
PER_ORIGIN = 6  # files of one extension from one package
BLOCKS = 8  # origins of a tool: what one wrote differs in its content only
LESS = 64  # bytes that a file cut at its end keeps at least, so that its head looks whole
SHARE = 0.25  # of the origins, for validation
UNKNOWN_TYPES = ("mo", "pyc", "npy", "npz", "vim", "pb", "jmod", "pod", "afm", "td", "sav", "arff")
UNSEEN = ("jmod", "npy", "afm", "pb", "sav")  # unknown types that training never meets
STEMS = "invoice scan report photo document statement contract IMG agenda minutes order payment"
STEMS += " budget draft notes backup data update logo"
KINDS = {
    **dict.fromkeys(("as is", "no MIME type"), MATCHING),
    **dict.fromkeys(("renamed", "mislabelled", "beheaded", "scrambled", "end lost"), MISMATCH),
    **dict.fromkeys(("unknown type", "unknown name"), UNKNOWN),
}
SPOILT = ("beheaded", "scrambled", "end lost")


@dataclass(frozen=True)
class Original:
    """A complete file. origin: the package or the tool that vouches for its extension; files of one
    origin stand on the same side of every cut."""

    origin: str
    ext: str
    content: bytes


@dataclass(frozen=True)
class Variant:
    """A file as it is sent; `kind` says what was done to it, `group` what its content was."""

    kind: str
    origin: str
    filename: str
    mime: str
    content: bytes
    group: str | None

    @property
    def label(self) -> int:
        return LABELS.index(KINDS[self.kind])

    @property
    def is_sound(self) -> bool:
        """True where the rule that judges peers agrees with the kind about the truth."""
        content = None if self.kind in SPOILT else self.group
        return verdict(self.filename, self.mime, content) == KINDS[self.kind]


@dataclass(frozen=True)
class Machine:
    """Where packages lie, and who else looks at files."""

    debian: Path = Path("/var/lib/dpkg/info")
    python: Path = Path(sysconfig.get_paths()["purelib"])
    peers: Mapping[str, Callable[[], Look]] = field(default_factory=lambda: PEERS)


def owned(machine: Machine) -> Iterator[tuple[str, Path]]:
    """Each file of a Debian package and of an installed Python package, with the package's name."""
    for path in sorted(machine.debian.glob("*.list")):
        for line in path.read_text(errors="replace").splitlines():
            yield f"dpkg {path.stem.partition(':')[0]}", Path(line)
    site = machine.python
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(newline="", errors="replace") as file:
            for name, *_ in csv.reader(file):
                yield f"pip {record.parent.name.partition('-')[0].lower()}", site / name


def sampled(
    exts: Iterable[str], per_ext: int, rng: np.random.Generator, machine: Machine
) -> list[Original]:
    """Up to `per_ext` different files of each extension, few of one package."""
    wanted, found, seen = set(exts), [], set()
    files = (each for each in owned(machine) if extension(each[1].name) in wanted)
    for ext, places in sorted(grouped_by(files, lambda each: extension(each[1].name)).items()):
        taken: Counter[str] = Counter()
        for i in rng.permutation(len(places)):
            if taken.total() == per_ext:
                break
            origin, path = places[i]
            content = read(path) if taken[origin] < PER_ORIGIN else b""
            digest = hashlib.sha256(content).digest()
            if content and digest not in seen:
                seen.add(digest)
                taken[origin] += 1
                found.append(Original(origin, ext, content))
    return found


def read(path: Path) -> bytes:
    """Nothing where it is no plain file (links count once), or too large."""
    try:
        small = path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST
        return path.read_bytes() if small else b""
    except OSError:
        return b""


def made(filling: Sequence[bytes], per_maker: int, rng: np.random.Generator) -> Iterator[Original]:
    """`per_maker` rounds of every maker; `filling` is what archives and documents hold."""
    for name, make in MAKERS.items():
        for number in range(per_maker):
            files = make(rng, filling[int(rng.integers(len(filling)))])
            for ext, content in files.items():
                yield Original(f"{name} {number % BLOCKS}", ext, content)


def stem(rng: np.random.Generator) -> str:
    """A name that says nothing of the type."""
    if rng.random() < 0.4:
        return "".join(rng.choice([*ascii_letters, *digits], rng.integers(6, 14)))
    number = rng.integers(1, 10_000)
    between = rng.choice(STEMS.split()), rng.choice(["", "_", "-", " "])
    return f"{''.join(between)}{number:0{rng.integers(1, 5)}d}"


def lie(group: str, rng: np.random.Generator) -> str:
    """An extension of another group, as often as those that tell the truth are seen."""
    others = [other for other in FORMATS if other != group]
    return str(rng.choice([*FORMATS[rng.choice(others)]]))


def known(original: Original, kind: str, rng: np.random.Generator) -> Variant:
    """A variant of a file whose group is known."""
    ext, content = original.ext, original.content
    group, mime, size = GROUP_OF[ext], MIME_OF[ext], len(original.content)
    if kind == "no MIME type":
        mime = ANYTHING
    elif kind == "renamed":
        ext = lie(group, rng)
        mime = MIME_OF[ext] if rng.random() < 0.7 else ANYTHING
    elif kind == "mislabelled":
        mime = MIME_OF[lie(group, rng)]
    elif kind == "beheaded":
        content = content[rng.integers(16, max(17, size // 2)) :]
    elif kind == "scrambled":  # as an encrypted file looks
        noise = rng.integers(0, 256, size, dtype=np.uint8)
        content = (np.frombuffer(content, np.uint8) ^ noise).tobytes()
    elif kind == "end lost":
        content = content[: rng.integers(LESS, max(LESS + 1, int(0.9 * size)))]
    return Variant(kind, original.origin, f"{stem(rng)}.{ext}", mime, content, group)


def unknown(original: Original, kind: str, rng: np.random.Generator) -> Variant:
    """A file of no group under its own extension, or any file under one that claims nothing."""
    name, group = stem(rng), GROUP_OF.get(original.ext)
    if kind == "unknown type":
        name += f".{original.ext}"
    else:
        name += str(rng.choice(["", ".dat", ".bin", ".tmp", ".enc"]))
    return Variant(kind, original.origin, name, ANYTHING, original.content, group)


def varied(originals: Sequence[Original], rng: np.random.Generator) -> Iterator[Variant]:
    """Of each file of a known group one that matches and one that does not, of every third one
    under an unknown name, of another third one that lost its end; of each other file one of unknown
    type."""
    for number, original in enumerate(originals):
        if original.ext not in GROUP_OF:
            yield unknown(original, "unknown type", rng)
            continue
        yield known(original, str(rng.choice(["as is", "no MIME type"], p=[0.8, 0.2])), rng)
        yield known(original, mismatching(original, rng), rng)
        if number % 3 == 0:
            yield unknown(original, "unknown name", rng)
        if number % 3 == 1 and len(original.content) > 4 * LESS:
            yield known(original, "end lost", rng)


def mismatching(original: Original, rng: np.random.Generator) -> str:
    """A text that lost its beginning is a text still."""
    kinds = ["renamed", "mislabelled", "scrambled", "beheaded"]
    text = GROUP_OF[original.ext] == "text" or len(original.content) < 4 * LESS
    return str(rng.choice(kinds, p=[0.45, 0.35, 0.2, 0] if text else [0.35, 0.25, 0.15, 0.25]))


Look = Callable[[bytes], str]  # content -> its MIME type


def libmagic() -> Look:
    import magic

    return magic.Magic(mime=True).from_buffer


def magika() -> Look:
    from magika import Magika

    look = Magika()
    return lambda content: str(look.identify_bytes(content).output.mime_type)


PEERS: dict[str, Callable[[], Look]] = {"libmagic": libmagic, "magika": magika}


def peers(variants: Sequence[Variant], machine: Machine) -> Iterator[Result]:
    """Each peer's counts by kind. What it sees in the complete file is put through the same rule as
    the truth, so that it is a peer and not the truth."""
    for name, start in machine.peers.items():
        try:
            look = start()
        except ImportError as error:
            print(f"{name} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        for kind, same in grouped_by(variants, lambda v: v.kind).items():
            labels = [verdict(v.filename, v.mime, group_of_mime(look(v.content))) for v in same]
            counts: dict[str, Any] = {"n": len(same), "right": labels.count(KINDS[kind])}
            counts["deep"] = len(labels) - labels.count(MATCHING)
            yield Result({"kind": "files", "gate": name, "files": kind}, counts)


def build(
    folder: Path,
    seed: int = 0,
    per_ext: int = 60,
    per_maker: int = 24,
    machine: Machine | None = None,
) -> None:
    """Write the data set into `folder`/file_gating."""
    machine, rng = machine or Machine(), np.random.default_rng(seed)
    originals = sampled([*GROUP_OF, *UNKNOWN_TYPES], per_ext, rng, machine)
    filling = [o.content for o in originals if GROUP_OF.get(o.ext) == "text"]
    if not filling:
        raise ConfigError("no package on this machine owns a text file: nothing to build from")
    originals += made(filling, per_maker, rng)
    parts: dict[str, list[Variant]] = {"train": [], "validation": [], "end_lost": []}
    for variant in varied(originals, rng):
        if variant.is_sound and (name := part_of(variant)):
            parts[name].append(variant)
    to = folder / "file_gating"
    for name, variants in parts.items():
        write(to / f"{name}.parquet", [variants[i] for i in rng.permutation(len(variants))])
    jsonl.write(to / "peers.jsonl", peers([*parts["validation"], *parts["end_lost"]], machine))
    print(f"{to}: " + ", ".join(f"{len(v)} {name}" for name, v in parts.items()))


def part_of(variant: Variant) -> str:
    """By the hash of its origin, so that another run of packages moves no other one; "" for what
    lost its end and would be in train."""
    unseen = variant.kind == "unknown type" and extension(variant.filename) in UNSEEN
    held = unseen or hashlib.sha256(variant.origin.encode()).digest()[0] < 256 * SHARE
    if variant.kind == "end lost":
        return "end_lost" if held else ""
    return "validation" if held else "train"


def write(path: Path, variants: Sequence[Variant]) -> None:
    pairs = [texts(v.filename, v.mime, v.content) for v in variants]
    columns = {
        "claim": [claim for claim, _ in pairs],
        "head": [head for _, head in pairs],
        "label": [v.label for v in variants],
        "source": [v.kind for v in variants],
        "idx": list(range(len(variants))),
    }
    with replacing(path) as beside:
        pq.write_table(pa.table(columns), beside)


if __name__ == "__main__":
    from experiments.study import given_of  # in a clone: the wheel has claims alone

    with reported():
        given = given_of(sys.argv[1:], ("seed", "per_ext", "per_maker"), needs=("to",))
        build(Path(given.pop("to")).expanduser(), **given)
