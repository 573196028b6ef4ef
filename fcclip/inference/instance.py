"""Instance segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from fcclip.inference.bands import Size
from fcclip.inference.masks import Band


class InstanceInference:
    """The best (query, class) pairs, scored by class probability times mean mask probability inside the mask.

    Args:
        class_logits: (Q, C + 1), void last.
        output: height and width.
        max_instances: number of pairs taken.
        class_ids: of those, only pairs of these classes are kept (None: all).
        thresholds: least score of the instances of each class, C numbers.
        by_logit: multiply by the mean mask logit inside the mask, as OVRCOAT does, in place of its probability.
    """

    def __init__(
        self,
        class_logits: Tensor,
        output: Size,
        max_instances: int,
        class_ids: Collection[int] | None = None,
        thresholds: Sequence[float] | None = None,
        by_logit: bool = False,
    ) -> None:
        self._thresholds = thresholds
        self._by_logit = by_logit
        probabilities = class_logits.float().softmax(dim=-1)[:, :-1]
        classes = probabilities.shape[1]
        count = min(max_instances, probabilities.numel())
        scores, index = probabilities.flatten().topk(count, sorted=False)
        query, label = index // classes, index % classes
        if class_ids is not None:
            kept = torch.isin(label, torch.tensor(sorted(class_ids), device=label.device))
            scores, query, label = scores[kept], query[kept], label[kept]
        self.queries, self._mask_of_pair = query.unique(return_inverse=True)
        self._scores, self._labels = scores, label
        self._output = output
        self._masks = query.new_zeros((len(query), *output), dtype=torch.bool)
        self._row_total = scores.new_zeros(len(self.queries), output[0])
        self._row_area = scores.new_zeros(len(self.queries), output[0])

    def update(self, band: Band) -> None:
        """See `BandConsumer`."""
        logits, rows = band.logits, slice(band.start, band.stop)
        torch.index_select(logits > 0, 0, self._mask_of_pair, out=self._masks[:, rows])
        inside = torch.gt(logits, 0, out=torch.empty_like(logits))  # as floats, which are summed faster than bools
        self._row_area[:, rows] = inside.sum(dim=2)
        inside *= logits if self._by_logit else band.probability
        self._row_total[:, rows] = inside.sum(dim=2)

    def result(self) -> Instances:
        """Instances with `pred_masks` (N, H, W) bool, `pred_boxes` (tight), `scores`, `pred_classes`."""
        mask_score = self._row_total.sum(dim=1) / (self._row_area.sum(dim=1) + 1e-6)
        result = Instances(self._output)
        result.pred_masks = self._masks
        result.pred_boxes = Boxes(boxes_of_masks(self._masks))
        result.scores = self._scores * mask_score[self._mask_of_pair]
        result.pred_classes = self._labels
        if self._thresholds is not None:
            result = result[result.scores >= result.scores.new_tensor(self._thresholds)[self._labels]]
        return result


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Tight boxes of masks (N, H, W) bool: (N, 4) as x0, y0, x1, y1 with x1, y1 exclusive; zeros if a mask is empty."""
    boxes = torch.zeros((len(masks), 4), device=masks.device)
    for axis, column in ((1, 0), (2, 1)):  # reduce the rows to find x, the columns to find y
        line = masks.view(torch.uint8).amax(dim=axis).bool()  # `any` is many times slower
        size = line.shape[1]
        found = line.any(dim=1)
        first = line.float().argmax(dim=1)
        last = size - line.flip(1).float().argmax(dim=1)
        boxes[:, column] = torch.where(found, first, 0)
        boxes[:, column + 2] = torch.where(found, last, 0)
    return boxes
