"""Complete files of known type, rightly and wrongly named, as a data set for the task file_gating.

    python -m experiments.file_gating.recipe to=<folder> [seed=0] [per_ext=60] [per_maker=24]

Files of Debian and Python packages on this machine, with the package's word for their extension,
and files made with the tools that own the formats. Writes <folder>/file_gating/train.parquet,
validation.parquet, end_lost.parquet (of the files of validation: what lost its end, which the first
bytes do not show) and peers.json: what libmagic and magika, where they are installed, say of the
complete files of the latter two. Only names that were made up and the first bytes are kept.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import replacing, write_json
from experiments.file_gating.attachment import texts

from .formats import FORMATS
from .makers import made
from .original import Original, sampled
from .peers import PEERS, judged, tallies
from .variants import Variant, checked, varied

TASK = "file_gating"
DEFAULTS = {"seed": 0, "per_ext": 60, "per_maker": 24}
PER_ORIGIN = 6  # files of one extension from one package
UNKNOWN = ("mo", "pyc", "npy", "npz", "vim", "pb", "jmod", "pod", "afm", "td", "sav", "arff")
UNSEEN = ("jmod", "npy", "afm", "pb", "sav")  # unknown types that training never meets
SHARE = 0.25  # of the origins, for validation


def main() -> None:
    with reported():
        folder, settings = asked(sys.argv[1:])
        build(folder, **settings)


def asked(arguments: Sequence[str]) -> tuple[Path, dict[str, int]]:
    given = {key: value for key, _, value in (a.partition("=") for a in arguments)}
    if not given.get("to"):
        raise ConfigError("to must name a folder to write: to=<folder>")
    folder, settings = Path(given.pop("to")).expanduser(), dict(DEFAULTS)
    for key, value in given.items():
        if key not in DEFAULTS:
            raise ConfigError(f"{key} is not known, only to, {', '.join(DEFAULTS)}")
        if not value.isdigit():
            raise ConfigError(f"{key} must be a whole number, got {value!r}")
        settings[key] = int(value)
    return folder, settings


def build(folder: Path, seed: int, per_ext: int, per_maker: int) -> None:
    rng = np.random.default_rng(seed)
    exts = [*(ext for types in FORMATS.values() for ext in types), *UNKNOWN]
    originals = sampled(exts, per_ext, PER_ORIGIN, rng)
    filling = [o.content for o in originals if o.group == "text"]
    if not filling:
        raise ConfigError("no package on this machine owns a text file: nothing to build from")
    originals += made(filling, per_maker, rng)
    parts: dict[str, list[Variant]] = {"train": [], "validation": [], "end_lost": []}
    for variant in filter(checked, varied(originals, rng)):
        if name := part_of(variant):
            parts[name].append(variant)
    to = folder / TASK
    for name, variants in parts.items():
        write(to / f"{name}.parquet", [variants[i] for i in rng.permutation(len(variants))])
    write_json(to / "peers.json", peers([*parts["validation"], *parts["end_lost"]]))
    write_json(to / "made_of.json", made_of(originals, parts))
    print(f"{to}: " + ", ".join(f"{len(v)} {name}" for name, v in parts.items()))


def part_of(variant: Variant) -> str:
    """By the hash of its origin, so that another run of packages moves no other one; "" for what
    lost its end and would be in train."""
    unseen = variant.kind == "unknown type" and variant.filename.rpartition(".")[2] in UNSEEN
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


def peers(variants: Sequence[Variant]) -> list[dict[str, object]]:
    found = []
    for name, start in PEERS.items():
        try:
            look = start()
        except ImportError as error:
            print(f"{name} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        found += tallies(variants, judged(variants, look), name)
    return found


def made_of(originals: Sequence[Original], parts: dict[str, list[Variant]]) -> dict[str, object]:
    """Counts alone: of files by extension, of origins, of kinds in each part."""
    kinds = {name: Counter(v.kind for v in variants) for name, variants in parts.items()}
    exts, packages = Counter(o.ext for o in originals), {o.origin for o in originals}
    return {"files": exts, "origins": len(packages), "kinds": kinds}


if __name__ == "__main__":
    main()
