"""Addresses that a build adds to the package: the project's links, and absolute links in README.

Pages of the repository link to each other by path, which a package index cannot follow. With the
repository's address in EAT_REPOSITORY (`.ci/release` and the release workflow set it), README's
links lead to the files at this version's tag. Without it README stays as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)\s]+")  # the target of a Markdown link
SOURCE = re.compile(r'(?<=src=")(?!\w+:)[^"]+|(?<=srcset=")(?!\w+:)[^"]+')  # of a picture
PAGES = {
    "Homepage": "",
    "Source": "",
    "Documentation": "/blob/{tag}/docs/pages/index.md",
    "Changelog": "/blob/{tag}/CHANGELOG.md",
    "Issues": "/issues",
}


class Addresses(MetadataHookInterface):
    """Sets `readme` and `urls`, which pyproject.toml leaves open."""

    def update(self, metadata: dict[str, Any]) -> None:
        address, tag = os.environ.get("EAT_REPOSITORY", ""), f"v{metadata['version']}"
        text = Path(self.root, "README.md").read_text("utf-8")
        text = absolute(text, address, tag) if address else text
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls(address, tag) if address else {}


def absolute(text: str, address: str, tag: str) -> str:
    """Markdown in which links lead to pages of the repository, and pictures to its files."""
    text = LINK.sub(lambda link: f"{address}/blob/{tag}/{link[0]}", text)
    return SOURCE.sub(lambda link: f"{address}/raw/{tag}/{link[0]}", text)


def urls(address: str, tag: str) -> dict[str, str]:
    return {label: address + path.format(tag=tag) for label, path in PAGES.items()}
