"""`python -m eat_lightning.report study=<folder>`: tables, figures and one page, all from rows.

A claim is a script with a function `claim(study) -> Section`. General claims are in
`report/claims/`; a study's own, such as `experiments/phishing/claim.py`, is given by its path.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, NonNegativeInt

from eat_lightning.cli import entry
from eat_lightning.config import DataSettings, Settings, parsed
from eat_lightning.errors import ConfigError
from eat_lightning.progress import shown

if TYPE_CHECKING:
    from eat_lightning.report.section import Section
    from eat_lightning.report.study import Study
    from eat_lightning.runs.run import Run

CLAIMS_DIR = Path(__file__).with_name("claims")
LAST = 100  # place of a claim that does not say its `PLACE` on the page


def found_claims() -> dict[str, Path]:
    """Return the general claims by name: `claims/<name>.py` or `claims/<name>/claim.py`."""
    files = {path.stem: path for path in CLAIMS_DIR.glob("[!_]*.py")}
    folders = {path.parent.name: path for path in CLAIMS_DIR.glob("*/claim.py")}
    return dict(sorted((files | folders).items()))


def existing_paths(value: Any) -> Any:
    if not value:
        raise ValueError("must name a folder of runs: study=outputs/...")
    return [value] if isinstance(value, str) else value


def scripts_of(value: Any) -> dict[str, Path]:
    """Return the scripts of `claims` by name; None for all general claims."""
    known, scripts = found_claims(), {}
    for name in [value] if isinstance(value, str) else value:
        path = known.get(str(name), Path(str(name)))
        if not path.is_file():
            raise ValueError(f"must be among {', '.join(known)} or scripts, got {name!r}")
        scripts[path.parent.name if path.name == "claim.py" else path.stem] = path
    return scripts


def folder_to_write(value: Any) -> Any:
    if isinstance(value, str) and Path(value).exists() and not Path(value).is_dir():
        raise ValueError(f"must be a folder, and {value} is a file")
    return value


def texts_of(value: Any) -> Any:
    """Turn single sentences into texts of one column."""
    return [[t] if isinstance(t, str) else t for t in value] if isinstance(value, list) else value


class ReportSettings(Settings):
    study: Annotated[list[str], BeforeValidator(existing_paths)]
    claims: Annotated[
        dict[str, Path] | None, BeforeValidator(lambda v: None if v is None else scripts_of(v))
    ]
    to: Annotated[str | None, BeforeValidator(folder_to_write)]
    against: str | None
    title: str | None
    formats: list[Literal["png", "svg", "pdf"]]
    examples: NonNegativeInt
    texts: Annotated[list[list[str]], BeforeValidator(texts_of)]
    data: DataSettings

    @property
    def folder(self) -> Path:
        first = Path(self.study[0].partition("*")[0])
        return Path(self.to or (first if first.is_dir() else first.parent) / "report")


def report(config: dict[str, Any]) -> Path:
    """Write the report and return its folder. A claim that lacks rows is listed, the rest is
    written.

    Raises:
        ConfigError: with one line per error before any row is read, or where there is no row.
    """
    plan = parsed(ReportSettings, config)
    from eat_lightning.report.budgeted import check_against
    from eat_lightning.report.findings import findings, show
    from eat_lightning.report.study import open_study

    study = open_study(plan.study, plan.title, plan.against or "")
    known = found_claims()
    if plan.against is not None:  # before the claims, which take minutes
        check_against(study)
    claims, lacking = make_claims(plan.claims or known, study)
    if plan.claims is not None:
        study.warnings += lacking
    if not claims:
        raise ConfigError.of(["these rows support none of the claims", *lacking])
    write(plan, study, claims, explored(study, plan), lacking if plan.claims is None else [])
    print_all("warning: ", study.warnings)
    show(study)
    print("\n".join(findings(study)))
    print(f"report: {plan.folder / 'index.html'}")
    if runs := shown_runs(study):
        predict = "eat predict" if which("eat") else f"{sys.executable} -m eat_lightning.predict"
        print(f"next: {predict} run={runs[0].folder} < lines.txt")
    return plan.folder


def print_all(head: str, lines: list[str]) -> None:
    for line in lines:
        print(f"{head}{line}", file=sys.stderr)


def make_claims(scripts: dict[str, Path], study: Study) -> tuple[list[Section], list[str]]:
    """Return the sections, and for each claim that lacks rows a line with what it needs."""
    claims, lacking = [], []
    modules = {name: loaded(path) for name, path in scripts.items()}
    ordered = sorted(modules.items(), key=lambda item: getattr(item[1], "PLACE", LAST))
    for name, module in shown(ordered, "claims", fewest=2):
        try:
            claims.append(module.claim(study))
        except ConfigError as error:
            lacking.append(f"{name}: {error}")
    return claims, lacking


def claim_of(path: Path) -> Callable[[Study], Section]:
    """Return the function `claim` of a script."""
    return loaded(path).claim


def loaded(path: Path) -> Any:
    """Import a script that defines a function `claim`.

    A user's script is loaded as part of a package of its folder, so that `from .figure import ...`
    finds the file beside it.

    Raises:
        ConfigError: where it defines no such function.
    """
    path = path.resolve()
    if path.is_relative_to(CLAIMS_DIR):
        inner = path.relative_to(CLAIMS_DIR).with_suffix("").parts
        return importlib.import_module(".".join(("eat_lightning.report.claims", *inner)))
    folder = path.parent
    name = f"claim_in_{re.sub(r'[^a-zA-Z0-9]', '_', str(folder))}_{path.stem}"
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return with_claim(module, path)


def with_claim(module: ModuleType, path: Path) -> ModuleType:
    if not hasattr(module, "claim"):
        raise ConfigError(f"{path}: has no function claim(study)")
    return module


def explored(study: Study, plan: ReportSettings) -> dict[str, Any] | None:
    """Return example sentences with their tokens and exits in one run per task (see `shown_runs`).

    None where there is no such run on this machine.
    """
    if not plan.examples and not plan.texts:
        return None
    from eat_lightning.report.explorer import explore

    tasks = []
    for run in shown(shown_runs(study), "example sentences", fewest=2):
        try:
            tasks.append(explore(run, plan.examples, texts=plan.texts, dir=plan.data.dir))
        except ConfigError as error:
            study.warnings.append(f"{run.folder}: no example sentences ({error})")
    return {"tasks": tasks} if tasks else None


def shown_runs(study: Study) -> list[Run]:
    """Return one adaptive run per task: the one that exits earliest."""
    best: dict[str, Run] = {}
    adaptive = [point for point in study.points(baseline="") if not point.is_static]
    for point in sorted(adaptive, key=lambda p: p.mean("token_layers") or 1.0):
        if run := study.run_of(point.members[0]):
            best.setdefault(point.row.task, run)
    return [best[task] for task in sorted(best)]


def write(
    plan: ReportSettings,
    study: Study,
    claims: list[Section],
    explorer: dict[str, Any] | None,
    lacking: list[str],
) -> None:
    """Write every file to a temporary name and rename it, the page last."""
    from eat_lightning.report import figures, page
    from eat_lightning.report.findings import findings
    from eat_lightning.runs.run import write_text

    folder = plan.folder
    for claim in shown(claims, "figures", fewest=2):
        for figure in claim.figures:
            figures.save(figure, folder / "figures", plan.formats)
    found = findings(study)
    write_text(folder / "report.md", as_markdown(study, claims, plan.formats, found, lacking))
    text = page.render(study.title, claims, explorer, study.warnings, found, lacking)
    write_text(folder / "index.html", text)


def as_markdown(
    study: Study,
    claims: list[Section],
    pictures: Sequence[str],
    found: list[str],
    lacking: list[str],
) -> str:
    """Return the page as Markdown for code hosts, without its explorer."""
    kind = next((kind for kind in ("png", "svg") if kind in pictures), None)
    parts = [f"# {study.title}", *found, listing(study.warnings)]
    for claim in claims:
        parts += [f"## {claim.title}", *claim.answer]
        for figure in claim.figures:
            image = f"![{figure.title}](figures/{figure.name}.{kind})"
            parts += [image if kind else f"*{figure.title}*", figure.caption]
        parts += [table.page() for table in claim.tables]
        parts.append(listing(claim.notes))
    if lacking:
        parts.append(f"## Not made\n\n{listing(lacking)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def listing(lines: list[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


main = entry("report", report, many="study")

if __name__ == "__main__":
    main()
