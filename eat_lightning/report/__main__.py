"""`python -m eat_lightning.report study=<folder>`: tables, figures and one page, all from rows.

A claim is a script with `claim(study) -> Claim`; those of our own lie in experiments/.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.report.claim import Claim
    from eat_lightning.report.study import Study
    from eat_lightning.runs.run import Run

CLAIMS = ("frontier", "ablation", "retention", "exits", "calibration", "cost")
RECIPES = ("phishing", "file_gating", "dtypes")  # made where asked for: they need runs of their own
_packaged = Path(__file__).parents[1] / "experiments"
CLAIMS_DIR = _packaged if _packaged.is_dir() else Path(__file__).parents[2] / "experiments"


def report(config: dict[str, Any]) -> Path:
    """Write the report; returns its folder. What a claim lacks is a warning, the rest is made.

    Raises ConfigError, one line per fault, before any row is read; and where there is no row.
    """
    from eat_lightning.report.study import open_study

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph of a PDF
    scripts = wanted(config)
    study = open_study(listed(config["study"]), config["title"])
    claims = made(scripts, study)
    if not claims:
        raise ConfigError.of(["none of the claims can be made of these rows", *study.warnings])
    folder = Path(config["to"] or default_folder(config))
    write(folder, study, claims, explored(study, config))
    say(study, claims, folder)
    return folder


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(path) for path in value or []]


def default_folder(config: dict[str, Any]) -> Path:
    first = Path(listed(config["study"])[0].partition("*")[0])
    return (first if first.is_dir() else first.parent) / "report"


def wanted(config: dict[str, Any]) -> dict[str, Path]:
    """The claims' scripts by name; ConfigError with every fault of the config."""
    names = CLAIMS if config["claims"] is None else config["claims"]
    names = [names] if isinstance(names, str) else list(names)
    scripts = {Path(name).stem: script(name) for name in names}
    faults = [] if config["study"] else ["study must name a folder of runs: study=outputs/..."]
    faults += [
        f"claims must be among {', '.join((*CLAIMS, *RECIPES))} or scripts, got {name!r}"
        for name in names
        if not script(name).is_file()
    ]
    count = config["examples"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        faults.append(f"examples must be a whole number, 0 or more, got {count!r}")
    if not isinstance(config["texts"], list):
        faults.append(f"texts must be a list, got {config['texts']!r}")
    to = config["to"]
    if to is not None and Path(to).exists() and not Path(to).is_dir():
        faults.append(f"to must be a folder, and {to} is a file")
    if faults:
        raise ConfigError.of(faults)
    return scripts


def script(name: str) -> Path:
    """A claim's script, by the claim's name; any other name is a script's path."""
    own = CLAIMS_DIR / name / "claim.py"
    return own if own.is_file() else Path(name)


def claim_of(path: Path) -> Callable[[Study], Claim]:
    """The function `claim` of a script, which imports files beside it as `from .table import ...`:
    it is loaded as a package of its folder, so that two claims may each have a table.py."""
    name = f"experiment_{path.parent.name}_{path.stem}"
    folder = [str(path.parent)]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    if not hasattr(module, "claim"):
        raise ConfigError(f"{path}: has no function claim(study)")
    return module.claim


def made(scripts: dict[str, Path], study: Study) -> list[Claim]:
    claims = []
    for name, path in scripts.items():
        try:
            claims.append(claim_of(path)(study))
        except ConfigError as error:
            study.warnings.append(f"{name}: {error}")
    return claims


def explored(study: Study, config: dict[str, Any]) -> dict[str, Any] | None:
    """Example sentences on their way through one run of each task: of those with exits or a
    reduction the first. None where there is no such run at hand."""
    if not config["examples"] and not config["texts"]:
        return None
    from eat_lightning.report.explorer import explore

    tasks = []
    for run in shown_runs(study):
        try:
            given = [[t] if isinstance(t, str) else list(t) for t in config["texts"]]
            dir = config["data"]["dir"]
            tasks.append(explore(run, config["examples"], texts=given, dir=dir))
        except ConfigError as error:
            study.warnings.append(f"{run.folder}: no example sentences ({error})")
    return {"tasks": tasks} if tasks else None


def shown_runs(study: Study) -> list[Run]:
    """One adaptive run of each task: the one that leaves earliest."""
    best: dict[str, tuple[float, Run]] = {}
    for point in study.points(baseline=""):
        run = study.run_of(point.members[0])
        if run is None or point.is_static:
            continue
        key = (point.mean("token_layers") or 1.0, run)
        if point.row.task not in best or key[0] < best[point.row.task][0]:
            best[point.row.task] = key
    return [run for _, run in best.values()]


def write(folder: Path, study: Study, claims: list[Claim], explorer: dict[str, Any] | None) -> None:
    """Every file beside its place, then renamed; the page last."""
    from eat_lightning.report import figures, page, tables
    from eat_lightning.report.kept import keep
    from eat_lightning.runs.run import write_text

    drawn = {}
    for claim in claims:
        for figure in claim.figures:
            drawn[figure.name] = figures.save(figure, folder / "figures")
        for table in claim.tables:
            tables.write(table, folder / "tables")
    write_text(folder / "report.md", as_markdown(study, claims))
    text = page.render(study.title, claims, explorer, study.warnings, drawn)
    keep(study, folder)
    write_text(folder / "index.html", text)


def as_markdown(study: Study, claims: list[Claim]) -> str:
    """Everything but the page's explorer, as a page that code hosts show."""
    from eat_lightning.report.tables import to_markdown

    parts = [f"# {study.title}"]
    if study.warnings:
        parts.append("\n".join(f"* {warning}" for warning in study.warnings))
    for claim in claims:
        parts += [f"## {claim.title}", *claim.answer]
        parts += [f"![{f.title}](figures/{f.name}.png)\n\n{f.caption}" for f in claim.figures]
        parts += [f"### {t.title}\n\n{t.caption}\n\n{to_markdown(t)}" for t in claim.tables]
        if claim.notes:
            parts.append("\n".join(f"* {note}" for note in claim.notes))
    return "\n\n".join(parts) + "\n"


def say(study: Study, claims: list[Claim], folder: Path) -> None:
    """The answers, what was wrong, and where to look."""
    for claim in claims:
        print(f"{claim.title}:")
        print("\n".join(f"  {line}" for line in claim.answer))
    for warning in study.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"report: {folder / 'index.html'}")


def show_claim(path: str) -> None:
    """A claim's script by itself: its tables and answers in the terminal. `study=` as for the
    report; without it the rows that were kept beside the script."""
    from eat_lightning.report.study import open_study
    from eat_lightning.report.tables import show

    given = [a.partition("=")[2] for a in sys.argv[1:] if a.startswith("study=")]
    unknown = [a for a in sys.argv[1:] if not a.startswith("study=")]
    try:
        if unknown:
            raise ConfigError(f"only study=<folder> is known here, got {unknown[0]}")
        study = open_study(given or [str(p) for p in kept_rows(Path(path))])
        claim = claim_of(Path(path))(study)
    except ConfigError as error:
        print(f"error: {error}".replace("\n", "\nerror: "), file=sys.stderr)
        raise SystemExit(1) from None
    for table in claim.tables:
        show(table)
    print("\n".join([*claim.answer, *(f"({note})" for note in claim.notes)]))
    for warning in study.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def kept_rows(path: Path) -> list[Path]:
    """The rows of our own runs."""
    own = sorted((path.parent / "results").glob("**/rows.jsonl"))
    return own or sorted(path.parents[1].glob("frontier/results/**/rows.jsonl"))


main = entry("report", report, many="study")

if __name__ == "__main__":
    main()
