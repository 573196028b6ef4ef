"""Test-time augmentation: views, averages, and what becomes of panoptic segments."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import MetadataCatalog
from PIL import Image
from torch import nn

from fcclip.config import get_cfg
from fcclip.evaluation.tta import SemanticSegmentorWithTTA, average_scores, make_views, relabel_segments
from tests.tiny import tiny_cfg, tiny_model


def cfg_with(sizes: tuple[int, ...], flip: bool = True) -> Any:
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.FLIP, cfg.DATASETS.TEST = sizes, flip, ()
    return cfg


class Colours(nn.Module):
    """Scores are the image's channels, resized to the output: knows nothing of flips or sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, ...]] = []
        self.metadata: Any = None

    def set_metadata(self, metadata: Any) -> None:
        self.metadata = metadata

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (inputs,) = batch
        self.calls.append(tuple(inputs["image"].shape))
        size = (inputs["height"], inputs["width"])
        scores = F.interpolate(inputs["image"][None].float(), size=size, mode="bilinear", align_corners=False)[0]
        ids = torch.zeros(size, dtype=torch.int32)
        ids[:, : size[1] // 2] = 5
        segments = [{"id": 5, "isthing": False, "category_id": 0}]
        return [{"sem_seg": scores, "panoptic_seg": (ids, segments), "panoptic_scores": [0.5], "instances": "plain"}]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """40 x 60: blue on the left, red on the right."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30, 2], pixels[:, 30:, 0] = 200, 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_views_have_the_sizes_and_are_mirrored():
    image = np.random.default_rng(0).integers(0, 256, (20, 40, 3)).astype(np.uint8)
    views = list(make_views(image, [20, 10, 30], 48, flip=True))
    assert [tuple(view.shape) for view, _ in views[::2]] == [(3, 20, 40), (3, 10, 20), (3, 24, 48)]
    assert [mirrored for _, mirrored in views] == [False, True] * 3
    for (plain, _), (mirror, _) in zip(views[::2], views[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirror)
    assert np.array_equal(views[0][0].permute(1, 2, 0).numpy(), image)
    assert len(list(make_views(image, [20, 10], 48, flip=False))) == 2


def test_average_turns_mirror_images_back():
    scores = torch.rand(2, 3, 4)
    assert torch.allclose(average_scores(iter([(scores, False), (scores.flip(-1), True)])), scores)
    assert torch.allclose(average_scores(iter([(scores, False), (3 * scores, False)])), 2 * scores)
    with pytest.raises(ValueError, match="no views"):
        average_scores(iter([]))


def test_inputs_are_not_changed_by_averaging():
    scores = torch.rand(2, 3, 4)
    before = scores.clone()
    average_scores(iter([(scores, False), (scores, False)]))
    assert torch.equal(scores, before)


def test_views_come_from_the_file_and_the_result_has_its_size(picture: Path):
    model = Colours()
    (result,) = SemanticSegmentorWithTTA(cfg_with((20, 80)), model)(
        [{"file_name": str(picture), "image": torch.zeros(3, 30, 45), "height": 40, "width": 60}]
    )
    assert model.calls == [(3, 20, 30), (3, 20, 30), (3, 80, 120), (3, 80, 120), (3, 30, 45)]
    assert result["sem_seg"].shape == (3, 40, 60)
    assert result["sem_seg"].argmax(dim=0)[:, [3, 56]].unique(dim=0).tolist() == [[2, 0]]
    assert result["instances"] == "plain"


def test_size_and_image_may_come_from_either(picture: Path):
    model = SemanticSegmentorWithTTA(cfg_with((20,)), Colours())
    (from_file,) = model([{"file_name": str(picture)}])
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)
    (from_image,) = model([{"image": pixels}])
    assert from_file["sem_seg"].shape == from_image["sem_seg"].shape == (3, 40, 60)
    assert torch.equal(from_file["sem_seg"], from_image["sem_seg"])
    with pytest.raises(ValueError, match='needs a "file_name" or an "image"'):
        model([{}])


def test_bgr_models_get_bgr(picture: Path):
    cfg = cfg_with((40,))
    cfg.INPUT.FORMAT = "BGR"
    (result,) = SemanticSegmentorWithTTA(cfg, Colours())([{"file_name": str(picture)}])
    assert result["sem_seg"].argmax(dim=0)[:, [3, 56]].unique(dim=0).tolist() == [[0, 2]]


def test_segments_take_the_best_class_of_their_kind():
    scores = torch.zeros(4, 2, 6)
    scores[0], scores[1, :, :4], scores[2, :, 4:] = 0.9, 0.5, 0.6
    ids = torch.tensor([[1, 1, 2, 2, 7, 7], [1, 1, 2, 2, 7, 0]], dtype=torch.int32)
    segments = [
        {"id": 1, "isthing": False, "category_id": 3},
        {"id": 2, "isthing": False, "category_id": 2},
        {"id": 7, "isthing": True, "category_id": 0},
    ]
    new_ids, new_segments = relabel_segments(ids, segments, scores, {0})
    assert new_segments == [
        {"id": 1, "isthing": False, "category_id": 1},  # both stuff segments are class 1 now
        {"id": 2, "isthing": True, "category_id": 0},
    ]
    assert new_ids.tolist() == [[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 2, 0]]
    assert new_ids.dtype == torch.int32
    assert ids[0, 4] == 7


def test_things_of_one_class_stay_apart():
    ids = torch.tensor([[1, 2]], dtype=torch.int32)
    segments = [{"id": k, "isthing": True, "category_id": 0} for k in (1, 2)]
    new_ids, new_segments = relabel_segments(ids, segments, torch.ones(1, 1, 2), {0})
    assert new_ids.tolist() == [[1, 2]]
    assert [segment["id"] for segment in new_segments] == [1, 2]


def test_panoptic_result_uses_the_averaged_scores(picture: Path):
    model = SemanticSegmentorWithTTA(cfg_with((40,)), Colours())
    (result,) = model([{"file_name": str(picture)}])
    ids, segments = result["panoptic_seg"]
    assert segments == [{"id": 1, "isthing": False, "category_id": 2}]
    assert ids[0].tolist() == [1] * 30 + [0] * 30
    assert "panoptic_scores" not in result


def test_vocabulary_is_handed_on():
    metadata = MetadataCatalog.get("test_tta_vocabulary").set(thing_dataset_id_to_contiguous_id={7: 2})
    try:
        inner = Colours()
        SemanticSegmentorWithTTA(cfg_with((40,)), inner).set_metadata(metadata)
        assert inner.metadata is metadata
    finally:
        MetadataCatalog.remove("test_tta_vocabulary")


def test_errors(picture: Path):
    with pytest.raises(ValueError, match="MIN_SIZES is empty"):
        SemanticSegmentorWithTTA(cfg_with(()), Colours())

    class Silent(nn.Module):
        def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{}]

    with pytest.raises(ValueError, match="SEMANTIC_ON True"):
        SemanticSegmentorWithTTA(cfg_with((40,)), Silent())([{"file_name": str(picture)}])


def test_whole_model(picture: Path):
    cfg = tiny_cfg(TEST__AUG__MIN_SIZES=(32, 64), TEST__AUG__FLIP=True)
    (result,) = SemanticSegmentorWithTTA(cfg, tiny_model())([{"file_name": str(picture)}])
    assert result["sem_seg"].shape == (150, 40, 60)
    assert torch.isfinite(result["sem_seg"]).all()
    ids, segments = result["panoptic_seg"]
    assert set(ids.unique().tolist()) - {0} == {segment["id"] for segment in segments}
    assert len(result["instances"].scores) > 0
