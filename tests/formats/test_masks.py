"""The masks that formats are written from."""

import numpy as np
import pytest

from fcclip.formats.masks import named_masks
from tests.formats.samples import HEIGHT, WIDTH, instance_masks, only, panoptic_map, sample


def test_segments() -> None:
    cat, light, sky = named_masks(sample())
    assert (cat.id, cat.name, cat.category_id, cat.is_thing, cat.score) == (1, "cat", 0, True, 0.9)
    assert (sky.name, sky.is_thing) == ("sky", False)
    for mask in (cat, light, sky):
        truth = panoptic_map() == mask.id
        assert np.array_equal(mask.full((HEIGHT, WIDTH)), truth)
        assert mask.area == truth.sum()
        x0, y0, x1, y1 = mask.box
        assert not np.delete(truth, np.s_[y0:y1], axis=0).any()
        assert not np.delete(truth, np.s_[x0:x1], axis=1).any()
        assert mask.crop.shape == (y1 - y0, x1 - x0)


def test_classes_largest_first_and_without_scores() -> None:
    masks = list(named_masks(sample(), "semantic"))
    assert [mask.name for mask in masks] == ["wall", "sky", "cat", "traffic light"]
    assert {mask.score for mask in masks} == {None}
    for mask in masks:
        assert np.array_equal(mask.full((HEIGHT, WIDTH)), sample().semantic == mask.category_id)


def test_instances_overlap_and_empty_ones_are_left_out() -> None:
    masks = list(named_masks(sample(), "instances"))
    assert [mask.name for mask in masks] == ["cat", "traffic light"]
    for mask, truth in zip(masks, instance_masks(), strict=True):
        assert np.array_equal(mask.full((HEIGHT, WIDTH)), truth)
    instances = sample().instances
    assert instances is not None
    instances.masks[0] = False
    assert [mask.name for mask in named_masks(sample(instances=instances), "instances")] == ["traffic light"]


def test_the_first_view_that_is_there() -> None:
    assert [mask.score for mask in named_masks(only("semantic"))] == [None] * 4
    assert len(list(named_masks(only("instances")))) == 2
    with pytest.raises(ValueError, match="no panoptic result"):
        list(named_masks(only("semantic"), "panoptic"))
