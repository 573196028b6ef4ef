"""The site of documentation is built strictly: no link leads nowhere, and no page loads anything from elsewhere."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY

REFERENCE = sorted(
    name
    for page in (REPOSITORY / "docs" / "reference").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
)
# What a browser fetches by itself; links that a reader clicks are no such thing.
FETCHED = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]*>""")
FETCHED_BY_STYLE = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_is_built(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="images/demo.png"' in start
    assert (site / "images" / "demo.png").is_file()
    assert 'href="words.html"' in start
    segmenter = (site / "reference" / "segmenter.html").read_text(encoding="utf-8")
    assert 'id="fcclip.Segmenter.predict"' in segmenter


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not FETCHED.findall(page.read_text(encoding="utf-8")), page.name
    for style in site.rglob("*.css"):
        assert not FETCHED_BY_STYLE.findall(style.read_text(encoding="utf-8")), style.name


def test_what_would_be_loaded_is_found() -> None:
    assert FETCHED.search('<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto">')
    assert FETCHED.search("<script async src=//cdn.example/a.js></script>")
    assert not FETCHED.search('<a href="https://arxiv.org/abs/2308.02487">paper</a><img src="images/demo.png">')


@pytest.mark.parametrize("name", REFERENCE)
def test_what_the_reference_shows_has_an_example(name: str) -> None:
    """Which tests/test_documentation.py runs."""
    module, _, member = name.rpartition(".")
    assert ">>> " in (getattr(importlib.import_module(module), member).__doc__ or "")
