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

from docs.site import (  # noqa: E402
    dashboard,
    hero,
    how,
    kept_run,
    live,
    rooms,
    settings,
    shelf,
    studies,
    tour,
)
from docs.site.made import Page  # noqa: E402
from docs.site.tutorial import (  # noqa: E402
    command,
    folder_of,
    runs_commands,
    with_commands_run,
)

# Pages with long commands, which are begun first.
TUTORIALS = ("how-to/adapt.md", "how-to/research.md", "how-to/labelled.md")


def on_config(config: Any) -> Any:
    """Make the pages and put those with a title into the navigation; `on_files` brings them."""
    sections = {
        "Results": studies.pages(),
        "Settings": settings.pages(),
        "Methods": shelf.pages(),
    }
    fill(config["nav"], sections)
    config["made"] = [page for pages in sections.values() for page in pages] + drawn()
    return config


def fill(nav: list[Any], sections: dict[str, list[Page]]) -> None:
    """Put made pages into the empty sections of a navigation, at any depth."""
    for entry in nav:
        ((name, below),) = entry.items()
        if name in sections and not below:
            entry[name] = nav_of(sections[name])
        elif isinstance(below, list):
            fill(below, sections)


def nav_of(pages: list[Page]) -> list[dict[str, Any]]:
    """Titles and paths, below the heading that a page names."""
    entries: list[dict[str, Any]] = []
    titled = (page for page in pages if page.title is not None)
    for section, own in groupby(titled, key=lambda page: page.section):
        links: list[dict[str, Any]] = [{str(page.title): page.path} for page in own]
        entries += [{section: links}] if section else links
    return entries


def drawn() -> list[Page]:
    """Pictures of the code, of the kept run, and of runs that are made now."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        runs = pool.submit(dashboard.run, folder)  # on another core
        made = [*hero.pages(), *how.pages(), *live.pages(), *tour.pages()]
        runs.result()
        return made + dashboard.pages(Path(folder))


def on_files(files: Files, config: Any) -> Files:
    """Add the made pages and the notebooks, and start the tutorials' commands."""
    for page in config["made"]:
        files.append(File.generated(config, page.path, content=page.content))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        place = f"notebooks/{path.name}"
        files.append(File.generated(config, place, abs_src_path=str(path)))
    pool = ThreadPoolExecutor(2)  # of pages; the commands of each run one after another
    config["tutorials"] = {
        place: pool.submit(
            with_commands_run, Path(config["docs_dir"], place).read_text("utf-8"), place
        )
        for place in TUTORIALS
        if runs_commands()
    }
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page with its links to studies, and a tutorial with the output of its commands."""
    place = page.file.src_uri
    markdown = how.with_pictures(markdown.replace(rooms.PLACE, rooms.table()))
    if not runs_commands():
        markdown = markdown.replace("```bash run", "```bash")
    elif tutorial := config["tutorials"].get(place):
        markdown = tutorial.result()
    else:
        markdown = with_commands_run(markdown, place)
    return studies.with_studies(markdown, Path(config["docs_dir"], place))


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
    """Add two reports: the one that a tutorial made, and one of the kept run."""
    live_pages = Path(config["site_dir"], "live").absolute()
    made = folder_of("how-to/research.md") / "report"
    if made.is_dir():
        shutil.copytree(made, live_pages / "tour", dirs_exist_ok=True)
    study = f"study={kept_run.FOLDER} to={live_pages / 'report'}"
    command("report", f"{study} claims=[budgets] examples=0 title=SST-2")
