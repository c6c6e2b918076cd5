"""Hooks of MkDocs while it builds the site: pages made from the code, tutorials that run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from experiments.site import dashboard, how, live, settings, shelf, studies, tour  # noqa: E402
from experiments.site.made import Page  # noqa: E402
from experiments.site.tutorial import (  # noqa: E402
    command,
    folder_of,
    runs_commands,
    with_commands_run,
)

SECTIONS = {"Methods": shelf.pages, "Results": studies.pages}


def on_config(config: Any) -> Any:
    """Put the pages that are made into the navigation; `on_files` then brings them."""
    made = {name: make() for name, make in SECTIONS.items()}
    commands = settings.pages()
    for section in config["nav"]:
        (name, entries) = next(iter(section.items()))
        if name in made:
            section[name] = [*entries, *nav_of(made[name])]
        elif name == "Reference":
            place = next(e for e in entries if "Commands and settings" in e)
            place["Commands and settings"] = nav_of(commands)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        runs = pool.submit(dashboard.run, folder)  # on another core
        drawn = [*how.pages(), *tour.pages(), *live.pages()]
        runs.result()
        drawn += dashboard.pages(Path(folder))
    config["made"] = [*made["Methods"], *made["Results"], *commands, *drawn]
    return config


def nav_of(pages: list[Page]) -> list[dict[str, Any]]:
    """Titles and paths, in sections where pages name one."""
    entries: list[dict[str, Any]] = []
    titled = (page for page in pages if page.title is not None)
    for section, own in groupby(titled, key=lambda page: page.section):
        links: list[dict[str, Any]] = [{str(page.title): page.path} for page in own]
        entries += [{section: links}] if section else links
    return entries


def on_files(files: Files, config: Any) -> Files:
    """Add what was made: Markdown, pictures, and whole files from `experiments/`; the notebooks."""
    for page in config["made"]:
        files.append(File.generated(config, page.path, content=page.content))
    for path in sorted((ROOT / "experiments/site/notebooks").glob("*.ipynb")):
        made = File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path))
        files.append(made)
    pool = ThreadPoolExecutor(2)  # of pages; the commands of each run one after another
    config["tutorials"] = {
        path.name: pool.submit(with_commands_run, path.read_text("utf-8"), f"tutorials/{path.name}")
        for path in sorted(Path(config["docs_dir"], "tutorials").glob("*.md"))
        if runs_commands()
    }
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Run the commands of a tutorial and show what they say; find reports last."""
    if "/results/" in page.file.src_uri:
        page.meta["search"] = {"boost": 0.1}
    if not runs_commands():
        return markdown.replace("```bash run", "```bash")
    tutorial = config["tutorials"].get(Path(page.file.src_uri).name)
    return tutorial.result() if tutorial else with_commands_run(markdown, page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Let a keyboard scroll a wide table, with the theme's scripts and without them."""
    first, *others = html.split("<table>")
    start = '<div class="wide" role="region" aria-label="Table {}" tabindex="0"><table>'
    tables = (start.format(n) + other for n, other in enumerate(others, start=1))
    return "".join([first, *tables]).replace("</table>", "</table></div>")


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search, which it leaves without a name."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')


def on_post_build(config: Any) -> None:
    """Bring what a tutorial made, and the page of a kept study, beside the pages that show them."""
    site = Path(config["site_dir"], "live")
    made = folder_of("tutorials/researcher.md") / "report"
    if made.is_dir():
        shutil.copytree(made, site / "tour", dirs_exist_ok=True)
    study, to = ROOT / "experiments/budgets/results", site.absolute() / "budgets"
    command("report", f"study={study} to={to} claims=[budgets] examples=0 title=budgets")
