"""The formats by the names under which they are asked for; light, for commands that have to answer at once."""

from __future__ import annotations

# Name -> module of this folder, and the `Writer` in it.
FORMATS = {
    "coco-panoptic": "coco_panoptic.CocoPanoptic",
    "coco-instances": "coco_instances.CocoInstances",
    "coco-polygons": "coco_instances.CocoPolygons",
    "yolo": "yolo.Yolo",
    "labelme": "labelme.LabelMe",
    "label-studio": "label_studio.LabelStudioBrush",
    "label-studio-polygons": "label_studio.LabelStudioPolygons",
    "class-ids": "class_ids.ClassIds",
    "cityscapes-ids": "class_ids.CityscapesIds",
    "ade20k-ids": "class_ids.Ade20kIds",
    "masks": "mask_files.MaskFiles",
    "cutouts": "mask_files.Cutouts",
    "csv": "areas.Areas",
    "geojson": "geojson.GeoJson",
}
