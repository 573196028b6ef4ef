"""Links of pages are turned so that they work on the site, and each text keeps one source."""

import pytest

from tests.tiny import REPOSITORY

pytest.importorskip("mkdocs")
from tools.docs_hooks import OUTSIDE, turn_links


@pytest.mark.parametrize(
    ("written", "page", "turned"),
    [
        ("[words](docs/words.md#prompts)", "index.md", "[words](words.md#prompts)"),
        ("![scene](docs/images/demo.png)", "index.md", "![scene](images/demo.png)"),
        ("[all](../MODEL_ZOO.md)", "family.md", "[all](model_zoo.md)"),
        ("[all](../../MODEL_ZOO.md)", "systems/fcclip.md", "[all](../model_zoo.md)"),
        ("[own](../docs/datasets.md)", "prepared_datasets.md", "[own](datasets.md)"),
        ("[get](../datasets/README.md#coco)", "datasets.md", "[get](prepared_datasets.md#coco)"),
        ("[Apache-2.0](LICENSE)", "index.md", "Apache-2.0"),
        ("see [docs/words.md](docs/words.md)", "index.md", "see [Words](words.md)"),
        ("[paper](https://arxiv.org/abs/2308.02487), [here](#start)", "index.md", None),
        ("[gone](docs/gone.txt)", "install.md", "[gone](gone.txt)"),
    ],
)
def test_links_are_turned(written: str, page: str, turned: str | None) -> None:
    assert turn_links(written, page) == (turned or written)


def test_the_pages_outside_docs_are_there() -> None:
    assert all((REPOSITORY / source).is_file() for source in OUTSIDE)
    assert not [page for page in OUTSIDE.values() if (REPOSITORY / "docs" / page).exists()]
