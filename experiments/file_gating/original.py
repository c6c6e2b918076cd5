"""Complete files of known type that lie on the machine, with their package's word for it."""

from __future__ import annotations

import csv
import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eat_lightning.report.study import grouped_by

from .formats import GROUP_OF, extension

DPKG = Path("/var/lib/dpkg/info")
MOST = 1 << 20  # bytes: larger files are left where they are


@dataclass(frozen=True)
class Original:
    """origin: the package or the tool that vouches for the extension. Files of one origin stand on
    the same side of every cut."""

    origin: str
    ext: str
    content: bytes

    @property
    def group(self) -> str | None:
        """None for an extension that is in no group."""
        return GROUP_OF.get(self.ext)


def owned() -> Iterator[tuple[str, Path]]:
    """Each file of a Debian package and of an installed Python package, with the package's name."""
    for path in sorted(DPKG.glob("*.list")):
        for line in path.read_text(errors="replace").splitlines():
            yield f"dpkg {path.stem.partition(':')[0]}", Path(line)
    site = Path(sysconfig.get_paths()["purelib"])
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(newline="", errors="replace") as file:
            for name, *_ in csv.reader(file):
                yield f"pip {record.parent.name.partition('-')[0].lower()}", site / name


def sampled(
    exts: Iterable[str], per_ext: int, per_origin: int, rng: np.random.Generator
) -> list[Original]:
    """Choose up to `per_ext` different files of each extension, up to `per_origin` of a package."""
    wanted, found, seen = set(exts), [], set()
    files = (each for each in owned() if extension(each[1].name) in wanted)
    places = grouped_by(files, lambda each: extension(each[1].name))
    for ext in sorted(places):
        taken: Counter[str] = Counter()
        for i in rng.permutation(len(places[ext])):
            if taken.total() == per_ext:
                break
            origin, path = places[ext][i]
            content = read(path) if taken[origin] < per_origin else b""
            digest = hashlib.sha256(content).digest()
            if content and digest not in seen:
                seen.add(digest)
                taken[origin] += 1
                found.append(Original(origin, ext, content))
    return found


def read(path: Path) -> bytes:
    """Nothing where it is no plain file (Debian compresses some documents; links count once), or
    too large."""
    try:
        small = path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST
        return path.read_bytes() if small else b""
    except OSError:
        return b""
