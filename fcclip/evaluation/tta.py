"""Test-time augmentation: what a model says about several sizes of an image and their mirror images, put together.

Semantic scores are averaged over all views, pixel by pixel. Masks cannot be: a query that finds the left horse in one
view may find the right one in another, so that query i of two views are two different things. Panoptic segments
therefore keep the shapes of the plain view; but what each of them is, is decided again, by the class that has the
largest averaged score over its pixels. A thing stays a thing and stuff stays stuff, and stuff segments that come to
have the same class become one. Instances are those of the plain view.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from torch import Tensor, nn

from fcclip.files.images import read_image

Segment = dict[str, Any]


class SemanticSegmentorWithTTA(nn.Module):
    """A model under test-time augmentation, called as the model itself is called.

    Args:
        cfg: TEST.AUG.MIN_SIZES, MAX_SIZE and FLIP say what the views are; DATASETS.TEST[0] names the first vocabulary.
        model: returns `sem_seg` scores (C, h, w) and, optionally, `panoptic_seg` and `instances`.

    Raises:
        ValueError: there are no views.
    """

    def __init__(self, cfg: CfgNode, model: nn.Module) -> None:
        super().__init__()
        if not cfg.TEST.AUG.MIN_SIZES:
            raise ValueError("TEST.AUG.MIN_SIZES is empty; name the sizes of the views")
        self.model = model
        self._sizes, self._max_size, self._flip = cfg.TEST.AUG.MIN_SIZES, cfg.TEST.AUG.MAX_SIZE, cfg.TEST.AUG.FLIP
        self._format = cfg.INPUT.FORMAT
        self._things = _thing_ids(MetadataCatalog.get(cfg.DATASETS.TEST[0])) if cfg.DATASETS.TEST else frozenset()

    def set_metadata(self, metadata: Any) -> None:
        """Ask for the classes of a dataset from now on."""
        self._things = _thing_ids(metadata)
        inner: Any = self.model
        if hasattr(inner, "set_metadata"):
            inner.set_metadata(metadata)

    @property
    def vocabulary(self) -> Any:
        """The classes of the results, if the model says them."""
        return getattr(self.model, "vocabulary", None)

    @property
    def vocabularies(self) -> Any:
        """The training and test classes of the model, if it says them."""
        return getattr(self.model, "vocabularies", None)

    @torch.no_grad()
    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One result per image.

        Args:
            batched_inputs: per image `file_name`, from which the views are made, or `image` (3, H, W); `height` and
                `width` of the output, by default those of the file or image.

        Returns:
            For each image `sem_seg` (C, height, width) and, if the model gives them, `panoptic_seg` and `instances`.

        Raises:
            ValueError: an input has neither a file nor an image, or the model returns no semantic scores.
        """
        return [self._segment(inputs) for inputs in batched_inputs]

    def _segment(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        image = _image(inputs, self._format)
        sample = {"height": image.shape[0], "width": image.shape[1], **inputs}
        scores = average_scores(
            (_scores(self.model([{**sample, "image": view}])[0]), mirrored)
            for view, mirrored in make_views(image, self._sizes, self._max_size, self._flip)
        )
        result = dict(self.model([{"image": _to_tensor(image), **sample}])[0])
        result["sem_seg"] = scores
        if "panoptic_seg" in result:
            ids, segments = result["panoptic_seg"]
            result["panoptic_seg"] = relabel_segments(ids, segments, scores, self._things)
            result.pop("panoptic_scores", None)  # they belong to the former classes
        return result


def make_views(image: np.ndarray, sizes: Sequence[int], max_size: int, flip: bool) -> Iterator[tuple[Tensor, bool]]:
    """Resized images, each followed by its mirror image if asked for.

    Args:
        image: (H, W, 3) uint8.
        sizes: lengths of the shorter side.
        max_size: limit of the longer side.
        flip: add mirror images.

    Yields:
        (3, h, w) uint8, and whether it is mirrored.
    """
    for size in sizes:
        resize = T.ResizeShortestEdge(size, max_size).get_transform(image)
        view = resize.apply_image(image)
        yield _to_tensor(view), False
        if flip:
            yield _to_tensor(view[:, ::-1]), True


def average_scores(views: Iterator[tuple[Tensor, bool]]) -> Tensor:
    """Mean of the score maps (C, h, w) of views, mirrored ones turned back; two maps are held at a time."""
    total: Tensor | None = None
    count = 0
    for scores, mirrored in views:
        upright = scores.flip(-1) if mirrored else scores
        total = upright.float().clone() if total is None else total.add_(upright)
        count += 1
    if total is None:
        raise ValueError("there are no views to average")
    return total.div_(count)


def relabel_segments(
    ids: Tensor, segments: Sequence[Segment], scores: Tensor, thing_ids: Collection[int]
) -> tuple[Tensor, list[Segment]]:
    """Give panoptic segments the class of their kind with the largest mean score over their pixels.

    Args:
        ids: (h, w) segment ids, 0 where there is none.
        segments: records with `id`, `isthing` and `category_id`.
        scores: (C, h, w) semantic scores.
        thing_ids: classes that are things.

    Returns:
        The map and the segments, numbered from 1; stuff of one class is one segment.
    """
    is_thing = torch.zeros(len(scores), dtype=torch.bool)
    is_thing[list(thing_ids)] = True
    relabelled = torch.zeros_like(ids)
    kept: list[Segment] = []
    stuff: dict[int, int] = {}  # class -> id of its segment
    for segment in segments:
        mask = ids == segment["id"]
        means = scores[:, mask].mean(dim=1).cpu()
        means[is_thing != bool(segment["isthing"])] = -torch.inf
        category = int(means.argmax())
        number = len(kept) + 1
        if not segment["isthing"]:
            number = stuff.setdefault(category, number)
        if number > len(kept):
            kept.append({"id": number, "isthing": bool(segment["isthing"]), "category_id": category})
        relabelled[mask] = number
    return relabelled, kept


def _thing_ids(metadata: Any) -> frozenset[int]:
    return frozenset((metadata.get("thing_dataset_id_to_contiguous_id") or {}).values())


def _image(inputs: Mapping[str, Any], image_format: str) -> np.ndarray:
    """(H, W, 3) uint8 of the file itself, for the image in the inputs was already made smaller or larger."""
    if "file_name" in inputs:
        image = read_image(inputs["file_name"])
        return image[..., ::-1] if image_format == "BGR" else image
    if "image" not in inputs:
        raise ValueError('an input of test-time augmentation needs a "file_name" or an "image"')
    return inputs["image"].permute(1, 2, 0).byte().cpu().numpy()


def _scores(output: Mapping[str, Any]) -> Tensor:
    scores = output.get("sem_seg")
    if scores is None or scores.ndim != 3:
        raise ValueError(
            "test-time augmentation averages semantic scores, which the model does not return; set "
            "MODEL.MASK_FORMER.TEST.SEMANTIC_ON True"
        )
    return scores


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
