"""Video datasets: classes and names as published, and records read from small trees."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options
from fcclip.data.prepare.vipseg import prepare, segments_of_raw_map
from fcclip.data.validation.report import check_dataset
from fcclip.files.panoptic import read_panoptic_png
from fcclip.vocabulary import Vocabulary
from tests.shared import SHARED, needs_shared

NAMES = [
    *(f"panoVSPW_vps_video_{split}_ov" for split in ("train", "val", "test")),
    *(f"VSPW_vss_video_{split}_ov" for split in ("train", "val", "test")),
    *(f"{name}_{split}_ov" for name in ("ytvis_2019", "ytvis_2021", "ovis") for split in ("train", "val", "test")),
    "ytvis_2023_val_ov", "lsvis_train_ov", "coco_panoptic_video_ov",
]  # fmt: skip
SPLIT = "panoVSPW_vps_video_val_ov"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_names_of_dvis_plus(name):
    assert name in DatasetCatalog
    assert name.removesuffix("_ov") in DatasetCatalog


@pytest.mark.parametrize(
    ("name", "kind", "classes", "things"),
    [
        (SPLIT, "video_panoptic", 124, 58),
        ("VSPW_vss_video_val_ov", "video_semantic", 124, 0),
        ("ytvis_2019_val_ov", "video_instance", 40, 40),
        ("ovis_val_ov", "video_instance", 25, 25),
    ],
)
def test_metadata(name, kind, classes, things):
    metadata = MetadataCatalog.get(name)
    vocabulary = Vocabulary.from_metadata(metadata)
    assert (metadata.evaluator_type, len(vocabulary), len(vocabulary.thing_ids)) == (kind, classes, things)


@needs_shared
def test_classes_of_vipseg_are_in_the_order_of_the_model():
    facts = json.loads((SHARED / "facts/vipseg_classes.json").read_text())
    table = category_table("vipseg")
    assert list(table.ids) == facts["vipseg_model_order"]
    by_id = {entry["id"]: entry for entry in facts["vipseg"]}
    for id_, name, is_thing, color in zip(table.ids, table.names, table.is_thing, table.colors, strict=True):
        entry = by_id[id_]
        assert (name, is_thing, list(color)) == (entry["name"], bool(entry["isthing"]), entry["color"])
    assert Vocabulary.from_metadata(MetadataCatalog.get(SPLIT)).categories[17].name == "person"


def write_raw_vipseg(root: Path) -> None:
    """One video of two frames: a wall (class 0), and the first person (class 60) in the right half."""
    values = np.full((4, 6), 1, np.uint16)
    values[:, 3:] = 6100
    values[0, 0] = 0
    for name in ("000", "001"):
        for folder in ("imgs", "panomasks"):
            (root / f"VIPSeg/{folder}/v").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6, 3), 99, np.uint8)).save(root / f"VIPSeg/imgs/v/{name}.jpg")
        Image.fromarray(values).save(root / f"VIPSeg/panomasks/v/{name}.png")
    (root / "VIPSeg/val.txt").write_text("v\n")


def test_a_video_without_masks_is_named(root):
    write_raw_vipseg(root)
    for path in (root / "VIPSeg/panomasks/v").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"panomasks/v has no \*\.png; is VIPSeg unpacked completely\?"):
        prepare(Options(root))


def test_vipseg_is_prepared_and_read(root):
    write_raw_vipseg(root)
    [output] = prepare(Options(root))
    assert (output.written, output.kept) == (2, 0)
    [again] = prepare(Options(root))
    assert (again.written, again.kept) == (0, 2)
    [record] = DatasetCatalog.get(SPLIT)
    assert (record["video_id"], record["length"]) == ("v", 2)
    first, second = record["frames"]
    with Image.open(first["file_name"]) as image:
        assert image.size == (1080, 720)
    ids = read_panoptic_png(second["pan_seg_file_name"])
    assert {segment["id"]: segment["area"] for segment in second["segments_info"]} == {
        1: int((ids == 1).sum()), 6100: int((ids == 6100).sum())
    }  # fmt: skip
    table = category_table("vipseg")
    assert [segment["category_id"] for segment in first["segments_info"]] == [table.ids.index(0), table.ids.index(60)]
    problems = {problem.check for problem in check_dataset(SPLIT, full=True).problems}
    assert problems == {"number of images"}


def test_raw_values_of_vipseg():
    _, segments = segments_of_raw_map(np.array([[0, 124, 301, 302]]))
    assert [(segment["id"], segment["category_id"]) for segment in segments] == [(124, 123), (301, 2), (302, 2)]


def test_vspw_is_read(root):
    for name in ("b", "a"):
        folder = root / "VSPW_480p/data/v1/origin"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jpg").write_bytes(b"image")
    (root / "VSPW_480p/val.txt").write_text("v1\n")
    [record] = DatasetCatalog.get("VSPW_vss_video_val_ov")
    assert [Path(frame["file_name"]).name for frame in record["frames"]] == ["a.jpg", "b.jpg"]
    assert record["frames"][0]["mask_file_name"].endswith("v1/mask/a.png")


def test_youtube_vis_is_read_without_annotations(root):
    video = {"id": 3, "height": 4, "width": 6, "length": 1, "file_names": ["x/0.jpg"]}
    folder = root / "ytvis_2019/valid/JPEGImages/x"
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(b"image")
    (root / "ytvis_2019/valid.json").write_text(json.dumps({"videos": [video], "categories": []}))
    [record] = DatasetCatalog.get("ytvis_2019_val_ov")
    assert (record["video_id"], record["height"], record["width"], record["length"]) == (3, 4, 6, 1)
    (root / "ytvis_2019/valid.json").write_text(json.dumps({"videos": [{"id": 1}], "categories": []}))
    with pytest.raises(ValueError, match="a video has no file_names"):
        DatasetCatalog.get("ytvis_2019_val_ov")
    (root / "ytvis_2019/valid.json").write_text('{"images": [], "categories": []}')
    with pytest.raises(ValueError, match=r"valid\.json is not in YouTube-VIS's format"):
        DatasetCatalog.get("ytvis_2019_val_ov")


def test_lv_vis_names_its_classes_itself(root):
    (root / "lsvis").mkdir()
    content = {"videos": [], "categories": [{"id": 7, "name": "sea_lion"}, {"id": 9, "name": "cup"}]}
    (root / "lsvis/train_instances_.json").write_text(json.dumps(content))
    from fcclip.data.datasets.video import lv_vis_classes

    assert lv_vis_classes()["thing_classes"] == ["sea lion", "cup"]
    assert lv_vis_classes()["thing_dataset_id_to_contiguous_id"] == {7: 0, 9: 1}


def test_what_is_missing_is_told(root):
    with pytest.raises(FileNotFoundError, match="prepare_vipseg"):
        DatasetCatalog.get(SPLIT)
    with pytest.raises(FileNotFoundError, match="VIPSeg's download"):
        prepare(Options(root))
