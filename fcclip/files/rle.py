"""Masks as the run lengths that COCO's tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as rle_codec


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Run-length encode a mask, column by column as COCO does.

    Only the columns from the first to the last that the mask touches are looked at: for most objects far faster than
    pycocotools' own encoder, and the code is the same.

    Args:
        mask: (h, w) bool.

    Returns:
        A COCO RLE with `counts` as text, so that it fits into JSON.
    """
    height, width = mask.shape
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, 0)
    inside = np.concatenate(([False], mask[:, first:last].T.reshape(-1), [False]))
    edges = first * height + np.flatnonzero(inside[1:] != inside[:-1])
    counts = np.diff(edges, prepend=0, append=height * width)
    if counts[-1] == 0:
        counts = counts[:-1]
    encoded = rle_codec.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}
