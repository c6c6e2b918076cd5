"""Folders as release 0.3 wrote them, made of bundles."""

import json
import shutil
from pathlib import Path
from typing import Any

from eat_lightning.bundle.adapted import AboutAdapted, AboutLists, graphs_of, read_dial
from eat_lightning.bundle.bundle import Bundle
from eat_lightning.deploy.convert.old_folder import GRAPHS, OldFolder
from eat_lightning.files import write_json
from eat_lightning.record.certificate import path_of


def old_folder(bundle: Bundle, to: Path) -> Path:
    """The folder of a bundle in the layout that 0.3 came to have: a point in adapted.json or
    lists.json, graphs in onnx/, the smaller model in small/."""
    shutil.copytree(bundle.folder, to, ignore=shutil.ignore_patterns("graphs", "before"))
    about = (AboutLists if bundle.is_of_lists else AboutAdapted).read(bundle.folder)
    for name in (bundle.about.name, bundle.dial.name):
        (to / name).unlink(missing_ok=True)
    candidates = {} if bundle.is_of_lists else {"candidates": read_dial(bundle)}
    for name, point in graphs_of(about.point).items():
        shutil.copytree(bundle.graphs(point.engine, point.dtype), to / GRAPHS[name])
    if bundle.before.about.is_file():
        old_folder(bundle.before, to / "small")
    write_json(
        to / ("lists.json" if bundle.is_of_lists else "adapted.json"), vars(about) | candidates
    )
    certificate = path_of(to, "adapted")
    if certificate.is_file():
        made = json.loads(certificate.read_text())
        made["holds_for"] |= OldFolder.read(to).bound()
        write_json(certificate, made)
    return to


def of_first_release(folder: Path) -> Path:
    """The same as 0.3.0 wrote it: engine and precision in place of a point, and the certificate in
    adapted.json."""
    found: dict[str, Any] = json.loads((folder / "adapted.json").read_text())
    point = found.pop("point")
    found |= {key: point[key] for key in ("engine", "dtype")}
    bound = OldFolder.read(folder).bound()
    found |= {"small_least": point.get("margin"), "candidates": []}
    found["holds_for"] = {k: v for k, v in bound.items() if isinstance(v, str)}
    found["certificate"] = {}
    certificate = path_of(folder, "adapted")
    if certificate.is_file():
        made = json.loads(certificate.read_text())
        [claim], [tally] = made["claims"], made["tallies"]
        counts = [{"num": tally["num"], "changed": tally["changed"]}]
        found["certificate"] = {"agree": 1 - claim["level"], "confidence": claim["confidence"]}
        found["certificate"] |= {"promise": made["guarantee"], "per_class": {}, "counts": counts}
        shutil.rmtree(certificate.parent)
    if (folder / "small").is_dir():
        of_first_release(folder / "small")
        found["holds_for"].pop("small model")
    write_json(folder / "adapted.json", found)
    return folder
