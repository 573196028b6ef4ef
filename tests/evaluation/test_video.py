"""The evaluation loop on videos, with models that know the answer, or nearly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from torch import nn

from fcclip.config import get_cfg
from fcclip.data.panoshapes.clips import CLIP_SPLITS, ClipSplit
from fcclip.evaluation import evaluate
from fcclip.evaluation.video_files import score_video_panoptic_files
from fcclip.files.panoptic import read_panoptic_png
from tests.tiny import tiny_model

CLIPS = "panoshapes_clips_a_video"


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The records of two clips of nine frames."""
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(CLIP_SPLITS, "clips_a", ClipSplit("clips_a", 7, clips=2, frames=9))
    return DatasetCatalog.get(CLIPS)


def cfg_of(folder: Path, plots: bool = False):
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(folder / "output")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.TEST.PANOPTIC_EXPORT = cfg.TEST.INSTANCE_EXPORT = True
    cfg.TEST.PLOTS = plots
    cfg.INPUT.MIN_SIZE_TEST = 32
    return cfg


class VideoOracle(nn.Module):
    """Answers with what it was given for each video."""

    def __init__(self, answers: dict[Any, dict[str, Any]]) -> None:
        super().__init__()
        self.answers = answers
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        [sample] = batch
        assert len(sample["image"]) == sample["length"] == len(sample["file_names"])
        self.shapes.append(tuple(sample["image"][0].shape))
        return [self.answers[sample["video_id"]]]


def panoptic_answer(record: dict[str, Any], switch_at: int | None = None) -> dict[str, Any]:
    maps = np.stack([read_panoptic_png(frame["pan_seg_file_name"]) for frame in record["frames"]])
    classes = {s["id"]: s["category_id"] for frame in record["frames"] for s in frame["segments_info"]}
    if switch_at is not None:
        maps[switch_at:][maps[switch_at:] > 0] += 100
        classes |= {id_ + 100: category for id_, category in classes.items()}
    infos = [{"id": id_, "category_id": category, "isthing": True} for id_, category in classes.items()]
    return {"task": "vps", "pred_masks": torch.from_numpy(maps), "segments_infos": infos}


def test_panoptic_oracle_is_perfect_and_what_it_writes_scores_alike(clips, tmp_path):
    model = VideoOracle({record["video_id"]: panoptic_answer(record) for record in clips})
    values = evaluate(model, cfg_of(tmp_path, plots=True), CLIPS)["video_panoptic"]
    assert {values[key] for key in ("VPQ", "VPQ_script", "STQ_corrected", "SQ")} == {100.0}
    assert model.shapes == [(3, 32, 32)] * 2
    metadata, folder = MetadataCatalog.get(CLIPS), tmp_path / "output/inference" / CLIPS
    truth = Path(metadata.panoptic_json), Path(metadata.panoptic_root)
    report = score_video_panoptic_files(*truth, folder / "pred.json", folder / "pan_pred")
    assert report["VPQ"] == report["STQ_corrected"] == 100.0
    assert json.loads((folder / "results.json").read_text())["results"]["video_panoptic"]["VPQ_8"] == 100.0


def test_ids_that_change_cost_windows_that_see_it(clips, tmp_path):
    model = VideoOracle({record["video_id"]: panoptic_answer(record, switch_at=4) for record in clips})
    values = evaluate(model, cfg_of(tmp_path), CLIPS)["video_panoptic"]
    assert values["VPQ_1"] == 100.0
    assert values["VPQ_2"] > values["VPQ_4"] > values["VPQ_8"]
    assert values["AQ_corrected"] < 70


def test_a_model_of_another_task_is_explained(clips, tmp_path):
    model = VideoOracle({record["video_id"]: {"task": "vss", "pred_masks": 0} for record in clips})
    with pytest.raises(ValueError, match='TASK "vps"'):
        evaluate(model, cfg_of(tmp_path), CLIPS)


def write_frames(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / name)


@pytest.mark.parametrize("public", [True, False])
def test_instances_are_scored_where_annotations_are_public(tmp_path, monkeypatch, caplog, public):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_frames(tmp_path / "ovis/valid", ["v/0.jpg", "v/1.jpg"])
    masks = np.zeros((1, 2, 4, 6), bool)
    masks[0, 0, :, :3] = True
    encoded = rle_codec.encode(np.asfortranarray(masks[0, 0].astype(np.uint8)))
    encoded["counts"] = encoded["counts"].decode()
    truth = {
        "videos": [{"id": 1, "height": 4, "width": 6, "length": 2, "file_names": ["v/0.jpg", "v/1.jpg"]}],
        "categories": [{"id": id_, "name": str(id_)} for id_ in range(1, 26)],
        "annotations": [
            {"id": 1, "video_id": 1, "category_id": 3, "segmentations": [encoded, None], "areas": [12, None]}
        ],
    }
    if not public:
        del truth["annotations"]
    path = tmp_path / "ovis/annotations/annotations_valid.json"
    path.parent.mkdir()
    path.write_text(json.dumps(truth))
    answer = {"task": "vis", "pred_scores": [0.9], "pred_labels": [2], "pred_masks": masks}
    values = evaluate(VideoOracle({1: answer}), cfg_of(tmp_path), "ovis_val_ov")["video_instance"]
    [written] = json.loads((tmp_path / "output/inference/ovis_val_ov/video_instances.json").read_text())
    assert (written["video_id"], written["category_id"], len(written["segmentations"])) == (1, 3, 2)
    if public:
        assert values["AP"] == pytest.approx(100)
        assert values["AP-3"] == pytest.approx(100)
    else:
        assert values == {}
        assert "its server scores" in caplog.text


def test_semantic_labels_are_dataset_ids_plus_one(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = tmp_path / "VSPW_480p/data/v"
    write_frames(folder, [f"origin/{number:02}.jpg" for number in range(10)])
    labels = np.full((4, 6), 1, np.uint8)  # wall, the dataset's id 0
    labels[:, 4:] = 255
    (folder / "mask").mkdir()
    for number in range(10):
        Image.fromarray(labels).save(folder / f"mask/{number:02}.png")
    (tmp_path / "VSPW_480p/val.txt").write_text("v")
    wall = MetadataCatalog.get("VSPW_vss_video_val_ov").stuff_dataset_id_to_contiguous_id[0]
    predicted = np.full((10, 4, 6), wall)
    predicted[5, :, :2] = wall + 1
    answer = {"task": "vss", "pred_masks": torch.from_numpy(predicted)}
    values = evaluate(VideoOracle({"v": answer}), cfg_of(tmp_path), "VSPW_vss_video_val_ov")["video_semantic"]
    assert values["mIoU"] == pytest.approx(100 * 19 / 20)
    assert values["VC8"] == pytest.approx(100 * 4 / 6)  # void counts as a label


def test_minvis_ov_is_evaluated_on_clips(clips, tmp_path):
    model = tiny_model(
        MODEL__META_ARCHITECTURE="MinVIS_OV",
        MODEL__MASK_FORMER__TEST__TASK="vps",
        DATASETS__TRAIN=("coco_panoptic_video_ov",),
    )
    values = evaluate(model, cfg_of(tmp_path), CLIPS)["video_panoptic"]
    assert 0 <= values["VPQ_1"] <= 100
    assert model.vocabulary.categories[0].name == "red circle"
