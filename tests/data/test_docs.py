"""What docs/datasets.md and datasets/README.md say is tried as it is written."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from fcclip.config import get_cfg
from fcclip.data.check import main as check
from fcclip.data.datasets import REGISTERED
from fcclip.data.datasets.custom import FORMATS, register_custom_datasets
from fcclip.vocabulary import Vocabulary
from tests.data import trees

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/datasets.md").read_text(encoding="utf-8")
README = (REPOSITORY / "datasets/README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    """The code blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the worked example and its configuration, which stands in configs/."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    for split in ("train", "val"):
        trees.write_image(tmp_path / f"rust/{split}/images/a.jpg")
        trees.write_labels(tmp_path / f"rust/{split}/labels/a.png", trees.left_and_right(0, 2))
    (tmp_path / "rust/names.txt").write_text(fenced("")[0])
    (text,) = fenced("yaml")
    path = tmp_path / "rust.yaml"
    path.write_text(text.replace("_BASE_: ", f"_BASE_: {REPOSITORY}/configs/"))
    return path


def test_the_worked_example(config: Path, capsys: pytest.CaptureFixture[str]):
    cfg = get_cfg()
    cfg.merge_from_file(str(config))
    assert register_custom_datasets(cfg) == [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST] == ["rust_train", "rust_val"]
    vocabulary = Vocabulary.from_metadata(MetadataCatalog.get("rust_train"))
    assert len(vocabulary) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 3
    assert [category.is_thing for category in vocabulary.categories] == [False, True, False]
    assert len(DatasetCatalog.get("rust_val")) == 1
    assert check(["rust_train", "rust_val", "--full", "--workers", "0", "--config-file", str(config)]) == 0
    assert "rust_val" in capsys.readouterr().out


def test_the_list_on_the_command_line(config: Path):
    (line,) = [line for block in fenced("bash") for line in block.splitlines() if "DATASETS.CUSTOM" in line]
    key, value = re.search(r'(DATASETS\.CUSTOM) "(.*?)"', line).groups()
    cfg = get_cfg()
    cfg.merge_from_list([key, value])
    register_custom_datasets(cfg)
    assert len(DatasetCatalog.get("rust_val")) == 1
    assert yaml.safe_load(config.read_text())["DATASETS"]["CUSTOM"][1] == cfg.DATASETS.CUSTOM[0]


def test_the_table_of_keys_is_complete():
    table = PAGE.split("## All keys")[1]
    rows = {
        row[0].strip("` "): [cell.strip() for cell in row[1:4]]
        for row in re.findall(r"^\|(.*?)\|(.*?)\|(.*?)\|(.*?)\|", table, re.MULTILINE)
    }
    for column, (name, keys) in enumerate(FORMATS.items()):
        said = {key: cells[column] for key, cells in rows.items() if cells[column] in ("required", "optional")}
        assert said == dict.fromkeys(keys.required, "required") | dict.fromkeys(keys.optional, "optional"), name


def test_the_readme_lists_every_dataset_and_script():
    names = {
        "".join(choice)
        for pattern in re.findall(r"`(openvocab_[^`]*)`", README.split("## The scripts")[0])
        for choice in product(*(part.split(",") for part in re.split(r"[{}]", pattern)))
    }
    assert names == {name for name, spec in REGISTERED.items() if spec.layout and name.startswith("openvocab_")}
    for script in (REPOSITORY / "datasets").glob("prepare_*.py"):
        page = PAGE if "own" in script.name else README
        assert f"python datasets/{script.name}" in page


def test_the_readme_counts_images_as_the_check_does():
    for name, spec in REGISTERED.items():
        if spec.sizes and name.startswith("openvocab_"):
            assert any(f" {size} " in README for size in spec.sizes), name
