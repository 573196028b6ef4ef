"""The two-stage rival of FC-CLIP: the same mask generator, then CLIP on a crop of every mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor
from torchvision.ops import masks_to_boxes, roi_align

from fcclip.meta_arch.fcclip import FCCLIP

CROPS_PER_BATCH = 16
MARGIN = 0.1  # share of the longer side of a mask's box that is added on each side


@META_ARCH_REGISTRY.register()
class TwoStage(FCCLIP):
    """FC-CLIP whose out-of-vocabulary classifier sees, for every mask, a square crop of the image.

    What lies outside of the mask is painted in CLIP's mean colour; crops have the size of the pictures that CLIP was
    trained on. CLIP runs once for every mask instead of once for the image. All weights are FC-CLIP's, so that a
    checkpoint of one is a checkpoint of the other, and training is the same.

    Source: the two-stage methods that FC-CLIP (Yu et al., NeurIPS 2023), section 3.1, compares itself with.
    """

    def embed_masks(
        self, images: Tensor, dense: Tensor, masks: Tensor, coarse_masks: Tensor, places: Tensor | None
    ) -> Tensor:
        size = images.shape[-2:]
        embeddings = []
        for image, image_masks in zip(images, masks, strict=True):
            for some in image_masks.split(CROPS_PER_BATCH):
                inside = F.interpolate(some[None], size=size, mode="bilinear", align_corners=False)[0] > 0
                embeddings.append(self._embed_crops(crop_masks(image, inside, self._crop_side)))
        return torch.cat(embeddings).view(*masks.shape[:2], -1)

    @property
    def _crop_side(self) -> int:
        side = self.backbone.clip_model.visual.image_size
        return int(side[0] if isinstance(side, tuple) else side)

    def _embed_crops(self, crops: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, E): features pooled over the whole crop."""
        dense = self.backbone(crops)["clip_vis_dense"]
        whole = torch.ones_like(dense[:, :1])
        return self.backbone.embed_masks(dense, whole)[:, 0]


def crop_masks(image: Tensor, masks: Tensor, side: int) -> Tensor:
    """Square crops of the masks.

    Args:
        image: (3, H, W), normalised, so that 0 is the mean colour.
        masks: (n, H, W) bool; for one without pixels the crop is the mean colour.
        side: of the crops, pixels.

    Returns:
        (n, 3, side, side).
    """
    n, height, width = masks.shape
    boxes = torch.tensor([[0.0, 0.0, width, height]], device=image.device).repeat(n, 1)
    filled = masks.flatten(1).any(dim=1)
    if filled.any():
        found = masks_to_boxes(masks[filled])
        found[:, 2:] += 1  # from the last pixel to its far edge
        boxes[filled] = found
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (0.5 + MARGIN) * (boxes[:, 2:] - boxes[:, :2]).max(dim=1, keepdim=True).values
    squares = torch.cat([torch.arange(n, device=image.device)[:, None], centre - half, centre + half], dim=1)
    return roi_align(image * masks[:, None], squares, output_size=side, aligned=True)
