"""Objects of other libraries."""

import numpy as np
import pytest

from tests.formats.samples import instance_masks, only, panoptic_map, sample


def test_hugging_face_panoptic() -> None:
    found = sample().to_hf()
    assert np.array_equal(found["segmentation"].numpy(), panoptic_map())
    assert found["segments_info"][2] == {"id": 7, "label_id": 2, "was_fused": True, "score": 0.75}
    with pytest.raises(ValueError, match="no panoptic"):
        only("semantic").to_hf()


def test_hugging_face_pipeline() -> None:
    found = sample().to_hf_pipeline()
    assert [(record["label"], record["score"]) for record in found] == [
        ("cat", 0.9),
        ("traffic light", 0.6),
        ("sky", 0.75),
    ]
    for record, index in zip(found, (1, 3, 7), strict=True):
        assert record["mask"].mode == "L"
        assert np.array_equal(np.array(record["mask"]) == 255, panoptic_map() == index)


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    found = sample().to_supervision()
    assert isinstance(found, supervision.Detections)
    assert np.array_equal(found.mask, instance_masks())
    assert found.data["class_name"].tolist() == ["cat", "traffic light"]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.3])
    assert found.xyxy[1].tolist() == [20, 24, 44, 44]
    assert found.area.tolist() == instance_masks().sum(axis=(1, 2)).tolist()
    segments = only("panoptic").to_supervision()
    assert segments.data["class_name"].tolist() == ["cat", "traffic light", "sky"]
    assert only("semantic").to_supervision().confidence is None
    assert len(only("instances").above(0.95).to_supervision()) == 0
