"""Every preparation script on a tiny dataset in its original layout: what it writes, and that it writes it once."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.data.prepare.ade20k import merge_panoptic, read_instances
from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png
from tests.data import trees
from tests.data.trees import HEIGHT, WIDTH

SCRIPTS = Path(__file__).resolve().parents[2] / "datasets"


def run_script(name: str, *arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a script as `python datasets/NAME ...` does, but without starting an interpreter."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    return int(exit_.value.code or 0)


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a script twice on tmp_path; the second run must leave every file as it is."""

    def prepare_twice(name: str, *arguments: str | Path) -> Path:
        assert run_script(name, "--root", tmp_path, "--workers", "0", *arguments, monkeypatch=monkeypatch) == 0
        before = snapshot(tmp_path)
        assert run_script(name, "--root", tmp_path, "--workers", "0", *arguments, monkeypatch=monkeypatch) == 0
        assert snapshot(tmp_path) == before
        return tmp_path

    return prepare_twice


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(root.rglob("*")) if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_every_script_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    scripts = sorted(SCRIPTS.glob("prepare_*.py"))
    assert len(scripts) == 13
    for script in scripts:
        assert run_script(script.name, "--help", monkeypatch=monkeypatch) == 0
        text = capsys.readouterr().out
        assert "reads" in text
        assert "writes" in text
        assert "--workers" in text


def test_coco_semantic(prepare, tmp_path: Path):
    trees.coco(tmp_path)
    prepare("prepare_coco_semantic_annos_from_panoptic_annos.py")
    labels = pixels(tmp_path / "coco/panoptic_semseg_val2017/000000000002.png")
    assert labels.dtype == np.uint8
    expected = trees.left_and_right(0, 132)
    expected[:, -1] = 255
    np.testing.assert_array_equal(labels, expected)


def test_semantic_of_own_panoptic(prepare, tmp_path: Path):
    trees.coco(tmp_path)
    prepare(
        "prepare_coco_semantic_annos_from_panoptic_annos.py",
        *("--json", tmp_path / "coco/annotations/panoptic_val2017.json"),
        *("--panoptic", tmp_path / "coco/panoptic_val2017"),
        *("--output", tmp_path / "labels"),
    )
    assert np.unique(pixels(tmp_path / "labels/000000000002.png")).tolist() == [0, 1, 255]
    assert not (tmp_path / "coco/panoptic_semseg_val2017").exists()


def test_coco_stuff(prepare, tmp_path: Path):
    trees.coco(tmp_path)
    prepare("prepare_coco_stuff_sem_seg.py")
    labels = pixels(tmp_path / "coco/stuffthingmaps_detectron2/train2017/000000000001.png")
    # Raw 11 (street sign), 25, ... have no class; 10 + 1 is the last id before the first gap.
    assert labels.tolist() == [[0, 10, 11], [170, 255, 79]]


def test_ade20k_semantic(prepare, tmp_path: Path):
    trees.ade20k(tmp_path)
    prepare("prepare_ade20k_sem_seg.py")
    labels = pixels(tmp_path / "ADEChallengeData2016/annotations_detectron2/validation/ADE_val_00000001.png")
    assert labels[0].tolist() == [7] * WIDTH
    assert labels[1].tolist() == [255, 0, 0, 0, 1, 1, 1, 1]


def test_ade20k_instances(prepare, tmp_path: Path):
    trees.ade20k(tmp_path)
    prepare("prepare_ade20k_ins_seg.py")
    content = json.loads((tmp_path / "ADEChallengeData2016/ade20k_instance_val.json").read_text())
    assert content["images"] == [
        {"id": "ADE_val_00000001", "file_name": "ADE_val_00000001.jpg", "width": WIDTH, "height": HEIGHT}
    ]
    assert len(content["categories"]) == 100
    assert content["categories"][0] == {"id": 7, "name": "bed"}
    bed, flag = content["annotations"]
    assert (bed["id"], bed["category_id"], bed["area"], bed["bbox"]) == (1, 7, 2 * WIDTH, [0, 0, WIDTH, 2])
    assert (flag["id"], flag["category_id"], flag["area"], flag["bbox"]) == (2, 149, 2, [6, 5, 2, 1])
    assert flag["segmentation"]["size"] == [HEIGHT, WIDTH]


def test_ade20k_panoptic_with_visible_areas(prepare, tmp_path: Path):
    trees.ade20k(tmp_path)
    prepare("prepare_ade20k_pan_seg.py", "--visible-areas")
    content = read_panoptic_json(tmp_path / "ADEChallengeData2016/ade20k_panoptic_val.json")
    (annotation,) = content.annotations.values()
    ids = read_panoptic_png(tmp_path / "ADEChallengeData2016/ade20k_panoptic_val" / annotation["file_name"])
    assert [segment["category_id"] for segment in annotation["segments_info"]] == [0, 1, 7, 149]
    for segment in annotation["segments_info"]:
        assert segment["area"] == np.count_nonzero(ids == segment["id"])
    assert ids[0, 0] == ids[1, -1]  # the bed covers the wall and the building of the second row
    assert len(np.unique(ids)) == 4
    assert [content.categories[id_]["isthing"] for id_ in (0, 1, 7, 149)] == [0, 0, 1, 1]


def test_ade20k_panoptic_has_the_published_areas(prepare, tmp_path: Path):
    """Also where the JSON was made without them before."""
    trees.ade20k(tmp_path)
    prepare("prepare_ade20k_pan_seg.py", "--visible-areas")
    prepare("prepare_ade20k_pan_seg.py")
    content = read_panoptic_json(tmp_path / "ADEChallengeData2016/ade20k_panoptic_val.json")
    wall, building, *_ = content.annotations["ADE_val_00000001"]["segments_info"]
    assert (wall["area"], building["area"]) == (5 * WIDTH // 2 - 1, 5 * WIDTH // 2)


def test_ade20k_full(prepare, tmp_path: Path):
    trees.ade20k_full(tmp_path)
    prepare("prepare_ade20k_full_sem_seg.py")
    base = tmp_path / "ADE20K_2021_17_01"
    with Image.open(base / "images_detectron2/validation/ADE_val_00000001.jpg") as image:
        assert image.size == (689, 512)  # 700 / 520 * 512 = 689.2
    labels = pixels(base / "annotations_detectron2/validation/ADE_val_00000001.tif")
    assert labels.dtype == np.uint16
    assert labels.shape == (512, 689)
    assert labels[0, 0] == 0
    assert labels[0, -1] == 65535
    assert len(list((base / "images_detectron2").rglob("*.jpg"))) == 2  # no object mask was taken for an image


def test_cityscapes(prepare, tmp_path: Path):
    trees.cityscapes(tmp_path)
    prepare("prepare_cityscapes_pan_seg.py")
    base = tmp_path / "cityscapes/gtFine"
    labels = pixels(base / "val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png")
    assert labels[:, 0].tolist() == [0] * HEIGHT
    assert labels[:, -1].tolist() == [13] * (HEIGHT - 1) + [255]
    content = read_panoptic_json(base / "cityscapes_panoptic_val.json")
    (annotation,) = content.annotations.values()
    assert annotation["image_id"] == "ulm_000000_000019"
    found = [(segment["id"], segment["category_id"], segment["iscrowd"]) for segment in annotation["segments_info"]]
    assert found == [(7, 7, 0), (26, 26, 1), (26000, 26, 0)]
    ids = read_panoptic_png(base / "cityscapes_panoptic_val" / annotation["file_name"])
    assert ids[:, -1].tolist() == [26000, 26000, 26, 26, 26, 0]


def test_pascal_voc(prepare, tmp_path: Path):
    trees.pascal_voc(tmp_path)
    prepare("prepare_pascal_voc_sem_seg.py")
    base = tmp_path / "pascal_voc_d2"
    assert pixels(base / "annotations_pascal21/validation/2007_000033.png")[0].tolist() == [0] * 4 + [255] + [20] * 3
    assert pixels(base / "annotations_pascal20/validation/2007_000033.png")[0].tolist() == [255] * 5 + [19] * 3
    assert (base / "images/training/2007_000032.jpg").is_file()


def test_pascal_context_of_mat_files(prepare, tmp_path: Path):
    trees.pascal_context(tmp_path)
    prepare("prepare_pascal_ctx_sem_seg.py")
    labels = pixels(tmp_path / "pascal_ctx_d2/annotations_ctx59/validation/2008_000003.png")
    assert labels[:2].tolist() == [[255] * WIDTH, [0] * 4 + [255] * 4]
    assert (tmp_path / "pascal_ctx_d2/images/training/2008_000002.jpg").is_file()


def test_pascal_context_full_uses_the_images_that_are_there(prepare, tmp_path: Path):
    trees.pascal_context(tmp_path)
    (tmp_path / "VOCdevkit/VOC2010/ImageSets/Main/val.txt").write_text("2008_000003\n2008_000999\n")
    trees.write_image(tmp_path / "pascal_ctx_d2/images/validation/2008_000003.jpg")
    prepare("prepare_pascal_ctx_full_sem_seg.py")
    labels = pixels(tmp_path / "pascal_ctx_d2/annotations_ctx459/validation/2008_000003.tif")
    assert labels.dtype == np.uint16
    assert labels[:2].tolist() == [[65535] * WIDTH, [1] * 4 + [458] * 4]


def test_pascal_context_with_detail(prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trees.pascal_context(tmp_path)

    class Detail:
        def __init__(self, json_file: str, images: str, phase: str) -> None:
            assert Path(json_file).is_file()
            self.stem = {"train": "2008_000002", "val": "2008_000003"}[phase]

        def getImgs(self) -> list[dict]:
            return [{"file_name": f"{self.stem}.jpg"}]

        def getMask(self, image: dict) -> np.ndarray:
            assert image["file_name"] == f"{self.stem}.jpg"
            return trees.left_and_right(458, 0)

    module = types.ModuleType("detail")
    module.Detail = Detail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "detail", module)
    (tmp_path / "VOCdevkit/VOC2010/trainval_merged.json").write_text("{}")
    prepare("prepare_pascal_ctx_sem_seg.py", "--labels", "detail")
    labels = pixels(tmp_path / "pascal_ctx_d2/annotations_ctx59/validation/2008_000003.png")
    assert labels[0].tolist() == [58] * 4 + [255] * 4


def test_own_label_maps(prepare, tmp_path: Path):
    trees.write_labels(tmp_path / "raw/a.png", [[0, 10, 20, 33]])
    (tmp_path / "names.txt").write_text("20:rust,corrosion\n10:steel\n")
    prepare(
        "prepare_own_label_maps.py",
        *("--labels", tmp_path / "raw", "--names", tmp_path / "names.txt", "--output", tmp_path / "labels"),
    )
    assert pixels(tmp_path / "labels/a.png").tolist() == [[255, 0, 1, 255]]


def test_in_processes_of_its_own_and_after_an_interruption(tmp_path: Path):
    """The real command with two workers; a half-written file is made again, a whole one is left alone."""
    trees.ade20k(tmp_path)
    base = tmp_path / "ADEChallengeData2016"
    for number in range(2, 6):
        stem = f"ADE_val_{number:08d}"
        trees.write_image(base / f"images/validation/{stem}.jpg")
        trees.write_labels(base / f"annotations/validation/{stem}.png", trees.left_and_right(1, number))
        trees.write_labels(base / f"annotations_instance/validation/{stem}.png", np.zeros((HEIGHT, WIDTH, 3)))
    command = [sys.executable, str(SCRIPTS / "prepare_ade20k_pan_seg.py"), "--workers", "2"]
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    first = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ade20k_panoptic_val" in first.stdout
    before = snapshot(base)
    whole, damaged = (
        base / "ade20k_panoptic_val/ADE_val_00000001.png",
        base / "ade20k_panoptic_val/ADE_val_00000002.png",
    )
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-20])
    subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert damaged.read_bytes() == content
    assert snapshot(base)[whole] == before[whole]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("prepare_coco_semantic_annos_from_panoptic_annos.py", "panoptic_val2017.json does not exist"),
        ("prepare_coco_stuff_sem_seg.py", "stuffthingmaps/val2017 does not exist"),
        ("prepare_ade20k_sem_seg.py", "annotations/training does not exist"),
        ("prepare_ade20k_ins_seg.py", "images/training does not exist"),
        ("prepare_ade20k_pan_seg.py", "images/training does not exist"),
        ("prepare_ade20k_full_sem_seg.py", "unpack ADE20K_2021_17_01 there"),
        ("prepare_cityscapes_pan_seg.py", "gtFine_trainvaltest"),
        ("prepare_pascal_voc_sem_seg.py", "train.txt does not exist"),
        ("prepare_pascal_ctx_sem_seg.py", "train.txt does not exist"),
        ("prepare_pascal_ctx_full_sem_seg.py", "train.txt does not exist"),
    ],
)
def test_missing_input_is_told_in_one_line(script, says, tmp_path, monkeypatch, capsys):
    assert run_script(script, "--root", tmp_path, "--workers", "0", monkeypatch=monkeypatch) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert says in errors[0]
    assert str(tmp_path) in errors[0]


def test_damaged_input_is_named(tmp_path, monkeypatch, capsys):
    trees.ade20k(tmp_path)
    damaged = tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert run_script("prepare_ade20k_sem_seg.py", "--root", tmp_path, monkeypatch=monkeypatch) == 1
    assert str(damaged) in capsys.readouterr().err


def test_a_label_that_the_dataset_does_not_have_is_named(tmp_path, monkeypatch, capsys):
    trees.ade20k(tmp_path)
    labels = tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"
    trees.write_labels(labels, [[151]])
    assert run_script("prepare_ade20k_pan_seg.py", "--root", tmp_path, "--workers", "0", monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert str(labels) in error
    assert "151" in error


@pytest.mark.parametrize(
    ("instances", "says"),
    [
        ([[[1, 1, 0], [2, 1, 0]]], r"object 1 has class \[1, 2\]; expected one of 1\.\.100"),
        ([[[101, 1, 0]]], r"object 1 has class \[101\]"),
        ([[1, 2]], r"has shape \(1, 2\); an ADE20K instance map is RGB"),
    ],
)
def test_a_wrong_instance_map_is_named(instances, says, tmp_path):
    path = trees.write_labels(tmp_path / "a.png", instances)
    with pytest.raises(ValueError, match=rf"a\.png:? {says}"):
        read_instances(path)


def test_maps_of_two_sizes_are_named():
    with pytest.raises(ValueError, match=r"a\.png has \(4, 6\) pixels \(height, width\), its instance map \(4, 5\)"):
        merge_panoptic(np.ones((4, 6), np.uint8), [(7, np.ones((4, 5), bool))], Path("a.png"))


def test_pascal_context_without_what_detail_needs(tmp_path, monkeypatch, capsys):
    trees.pascal_context(tmp_path)
    words = ("prepare_pascal_ctx_sem_seg.py", "--root", tmp_path, "--workers", "0", "--labels", "detail")
    assert run_script(*words, monkeypatch=monkeypatch) == 1
    assert "trainval_merged.json does not exist; download it, or use --labels mat" in capsys.readouterr().err
    (tmp_path / "VOCdevkit/VOC2010/trainval_merged.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "detail", None)
    assert run_script(*words, monkeypatch=monkeypatch) == 1
    assert "the package detail (PASCAL in Detail) is not installed; use --labels mat" in capsys.readouterr().err
