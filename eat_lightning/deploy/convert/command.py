"""`python -m eat_lightning.convert old=<folder> to=<folder>`: rewrite a folder of release 0.3 as a
bundle.

Weights, exits and graphs compute what they did, so that the certificate stays in force: it is
checked against the old files, and bound to the new ones. What this version computes otherwise, as
early exits of our kernels in int8, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eat_lightning.bundle.adapted import AboutAdapted, bound, check_computation
from eat_lightning.bundle.bundle import DRIFT, Bundle, writing
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.cli import entry
from eat_lightning.config import Settings, parsed
from eat_lightning.deploy.convert.old_folder import CLASSES, LISTS, OldFolder
from eat_lightning.machine import has_torch
from eat_lightning.monitor.reference import Reference, deciding


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
    elif (folder / "onnx").is_dir() and find_spec("onnx") is None:
        yield f"old={folder}: its graphs are rewritten by onnx: pip install 'eat-lightning[onnx]'"
    elif not has_torch():
        yield f"old={folder}: converting needs torch: pip install eat-lightning"
    elif not Bundle(folder).is_old:
        yield f"old={folder}: neither {CLASSES} nor {LISTS}, which release 0.3 wrote, is in it"


def convert(config: dict[str, Any]) -> Path:
    """Write the bundle and return its folder.

    Raises:
        ConfigError: in one line, for a folder that cannot be converted; nothing is then written.
    """
    plan = parsed(ConvertSettings, config)
    to = Path(plan.to or "")  # named, by the rules
    old = OldFolder.read(Path(plan.old or ""))
    with writing(to) as bundle:
        lines = [*certify_again(old, bundle)]
    for line in lines:
        print(f"  {line}")
    print(f"{to}: converted, {megabytes(old.folder)} -> {megabytes(to)}")
    return to


def certify_again(old: OldFolder, bundle: Bundle) -> Iterator[str]:
    """Write a bundle with the certificate of an old folder, and with its drift reference. Versions
    and machine stay those with which it was certified. Yields what went where.

    Raises:
        ConfigError: where the drift reference is not of what was certified, or this version
            computes otherwise.
    """
    certificate, about = old.check(), old.about
    check_computation(certificate, about.point, f"old={old.folder}")
    yield from old.write(bundle)
    holds_for = certificate.holds_for | bound(bundle, about.point)
    replace(certificate, holds_for=holds_for).write(bundle.folder)
    if (old.folder / DRIFT).is_file() and isinstance(about, AboutAdapted):
        how = f"eat adapt to={bundle.name}"
        reference = Reference.read(old.folder / DRIFT, how)
        windows = about.long_texts.described(about.max_length)
        reference.check(deciding(certificate.holds_for, windows), how)
        replace(reference, holds_for=deciding(holds_for, windows)).write(bundle.folder)


def megabytes(folder: Path) -> str:
    """The size of a folder, in which a file of two names counts once."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    size = sum({each.st_ino: each.st_size for each in stats}.values())
    return f"{size / 1e6:.1f} MB"


main = entry("convert", convert)
