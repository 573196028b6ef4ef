"""PanoShapes: a small rendered world with exact panoptic ground truth and captions."""

from fcclip.data.panoshapes.classes import CLASSES, ShapesClass, unseen_ids
from fcclip.data.panoshapes.scene import Scene, Segment, render_scene

__all__ = ["CLASSES", "Scene", "Segment", "ShapesClass", "render_scene", "unseen_ids"]
