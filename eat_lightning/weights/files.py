"""Weights of a model folder in any format that transformers writes: safetensors or the older .bin,
in one file or several.

Only tensors are unpickled (`weights_only`), file names cannot leave the folder, and the data of a
tensor must match its declared size.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

from safetensors import SafetensorError, safe_open

from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.files import replacing
from eat_lightning.untrusted import json_of

if TYPE_CHECKING:
    from torch import Tensor

EXITS = "exits"  # in the folder of a classifier that stays as it was
FACTORS = "int8.safetensors"  # in the same, where it runs in int8
BUNDLE = "bundle.json"  # in every folder that `adapt` or `rerank` wrote
OLD_BUNDLES = ("adapted.json", "lists.json")  # in its place, of release 0.3
SAFE, OLD = "model.safetensors", "pytorch_model.bin"
MOST_FILES = 1000
INDEX = 64 << 20  # bytes of an index, which has a line for each weight


def weight_files(folder: Path, old: bool = True) -> list[Path]:
    """Return the weight files of a folder.

    Args:
        old: also accept .bin, for backbones released years ago.

    Raises:
        ConfigError: where there are none, or one is missing.
    """
    for name in (SAFE, OLD) if old else (SAFE,):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            return shards(folder / f"{name}.index.json")
    others = f"and no {OLD}" if old else "(other weight files are not read)"
    raise ConfigError(f"{folder}: no {SAFE} {others}")


def shards(index: Path) -> list[Path]:
    """Return the files that an index names, in order."""
    with reading(index):
        names = sorted({str(name) for name in json_of(index, INDEX)["weight_map"].values()})
    if not names or len(names) > MOST_FILES:
        raise ConfigError(f"{index}: must name 1..{MOST_FILES} files, got {len(names)}")
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise ConfigError(f"{index}: names {one_line(name, 80)}, which is not in its folder")
    return [index.parent / name for name in names]


def own_config(folder: Path) -> dict[str, Any] | None:
    """Return the encoder's config of a run's model that is stored as transformers' classifier, from
    the exits beside it; None in other folders.

    Raises:
        ConfigError: where it cannot be read.
    """
    path, plain = folder / EXITS / "config.json", folder / "config.json"
    if not path.is_file() or not plain.is_file():
        return None
    with reading(plain):
        if json_of(plain).get("model_type") == "eat":
            return None  # in the encoder's own form, which needs no other file
    with reading(path):
        found = json_of(path)
        return found if found.get("model_type") == "eat" else None


def model_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights of a run's model."""
    beside = [] if own_config(folder) is None else [folder / EXITS / SAFE]
    return [folder / SAFE, *beside]


def read_weights(folder: Path, old: bool = False) -> dict[str, Tensor]:
    """Read all weights.

    Raises:
        ConfigError: in one line, where they are incomplete.
    """
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for path in weight_files(folder, old):
        try:
            weights |= load_file(path) if path.suffix == ".safetensors" else read_old(path)
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"{path}: not a whole safetensors file ({error})") from None
    return weights


def save_weights(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write model.safetensors in transformers' format."""
    from safetensors.torch import save_file

    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    with replacing(folder / SAFE) as beside:
        save_file(plain, beside, metadata={"format": "pt"})


def read_old(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        if is_zipfile(path):  # which could hold more than the file is long
            with ZipFile(path) as members:
                if any(member.compress_type != ZIP_STORED for member in members.infolist()):
                    raise ConfigError(f"{path}: its weights are packed, which torch never does")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ConfigError:
        raise
    except Exception as error:  # whatever an unpickler makes of bytes that somebody gave it
        raise ConfigError(f"{path}: not a file of weights alone ({why_not(error)})") from None
    found = found if isinstance(found, dict) else {}
    weights = {k: w for k, w in found.items() if isinstance(k, str) and isinstance(w, torch.Tensor)}
    for name, weight in weights.items():
        size = weight.untyped_storage().nbytes() // weight.element_size()
        if weight.layout != torch.strided or weight.numel() > size:
            raise ConfigError(f"{path}: {one_line(name, 80)} holds fewer numbers than it says")
    if not weights:
        other = ", ".join(map(str, [*found][:3])) or "nothing"
        raise ConfigError(f"{path}: holds no weights by their names, but {one_line(other, 80)}")
    return {name: weight.contiguous() for name, weight in weights.items()}


def why_not(error: Exception) -> str:
    """Explain why a .bin holds no plain weights, without torch's advice to load it anyway."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds a {one_line(named[1], 80)}, which no weight is"
    if isinstance(error, RuntimeError | OSError | BadZipFile):
        return one_line(error, 120)
    return "it is no pickle of tensors"


def sizes_in(paths: Path | Iterable[Path]) -> dict[str, list[int]]:
    """Return the sizes of tensors from safetensors headers; names without "encoder."."""
    found = {}
    for path in [paths] if isinstance(paths, Path) else paths:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            for name in names:
                found[name.removeprefix("encoder.")] = file.get_slice(name).get_shape()
    return found


def weights_digest(folder: Path) -> str:
    """Return a hash of all weight files in a folder."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
