"""Hooks of mkdocs.yml: pages of the site that lie outside docs/, and links that work on a code host and on the site.

Each text has one source. README.md and its like are read where they lie, and only their links are turned: to the page
that the site makes of a file, or, for files that are no page, to their names without a link. A link whose text is the
name of a page's file is called by the title of the page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
# File of the repository -> page of the site.
OUTSIDE = {
    "README.md": "index.md",
    "INSTALL.md": "install.md",
    "MODEL_ZOO.md": "model_zoo.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "datasets/README.md": "prepared_datasets.md",
}
SOURCES = {page: source for source, page in OUTSIDE.items()}

_CODE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page, except in blocks of code."""
    parts, end = [], 0
    for block in _CODE.finditer(markdown):
        parts += [turn_links(markdown[end : block.start()], page.file.src_uri), block.group()]
        end = block.end()
    return "".join([*parts, turn_links(markdown[end:], page.file.src_uri)])


def turn_links(markdown: str, page: str) -> str:
    """Text of a page whose relative links lead to pages of the site.

    Args:
        markdown: links are relative to the page's file in the repository.
        page: its place on the site, such as "index.md".
    """
    folder = posixpath.dirname(SOURCES.get(page, f"docs/{page}"))

    def turned(link: re.Match[str]) -> str:
        mark, label, path, anchor = link.groups(default="")
        target = posixpath.normpath(posixpath.join(folder, path))
        place = OUTSIDE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if place is not None:
            if label.endswith(".md") and (REPOSITORY / target).is_file():
                label = title_of(REPOSITORY / target)
            return f"{mark}[{label}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor})"
        # What does not exist stays as it is, for mkdocs to complain of.
        return label if (REPOSITORY / target).exists() else link.group()

    return _LINK.sub(turned, markdown)


def title_of(file: Path) -> str:
    """The first heading of a page."""
    return next(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# "))[2:]
