"""What a model found in one picture, by the names that were asked for: segments, instances and a semantic map."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcclip.drawing.style import DEFAULT_STYLE, DrawStyle, View
from fcclip.formats.coco_panoptic import write_coco_panoptic
from fcclip.formats.interop import to_hf, to_hf_pipeline, to_supervision
from fcclip.formats.notebook import notebook_html, notebook_png, summary
from fcclip.formats.picture import draw_result, save_picture
from fcclip.formats.records import result_to_dict
from fcclip.formats.registry import open_format
from fcclip.formats.result import Result
from fcclip.formats.table import result_table
from fcclip.formats.writer import DEFAULT_TOLERANCE, WriterOptions

if TYPE_CHECKING:
    import supervision


class Segmentation(Result):
    """The result for one picture, and the forms in which it leaves the program; the data are those of `Result`.

    Examples:
        A picture of 4 x 6 pixels, whose right half is sky:

        >>> from fcclip.formats.result import describe_segments
        >>> from fcclip.vocabulary import Vocabulary
        >>> names = Vocabulary.of("cat; sky=stuff")
        >>> panoptic = np.array([[1, 1, 1, 2, 2, 2]] * 4, np.int32)
        >>> cat = {"id": 1, "category_id": 0, "isthing": True}
        >>> sky = {"id": 2, "category_id": 1, "isthing": False}
        >>> segments = describe_segments(panoptic, [cat, sky], [0.9, 0.4], names)
        >>> result = Segmentation(np.zeros((4, 6, 3), np.uint8), names, panoptic, segments)
        >>> result.names(), result.above(0.5).names()
        (['cat', 'sky'], ['cat'])
        >>> int(result.segments[0].mask.sum()), result.segments[0].box
        (12, (0, 0, 3, 4))
        >>> result.draw(labels="none").shape
        (4, 6, 3)
        >>> [entry["name"] for entry in result.to_dict()["segments"]]
        ['cat', 'sky']
    """

    def above(self, score: float) -> Segmentation:
        """The same without the segments and instances whose score is below `score`; the semantic map is kept.

        Raises:
            ValueError: `score` is no number from 0 to 1.
        """
        if not isinstance(score, int | float | np.number) or not 0 <= score <= 1:
            raise ValueError(f"a score is a number from 0 to 1, not {score!r}")
        kept = tuple(segment for segment in self.segments if segment.score >= score)
        panoptic = self.panoptic
        if panoptic is not None and len(kept) < len(self.segments):
            panoptic = np.where(np.isin(panoptic, [segment.id for segment in kept]), panoptic, 0)
        instances = None if self.instances is None else self.instances[self.instances.scores >= score]
        return replace(self, panoptic=panoptic, segments=kept, instances=instances)

    def names(self) -> list[str]:
        """Names of the classes that `draw` shows, each once."""
        if self.panoptic is not None:
            found = [segment.category_id for segment in self.segments]
        elif self.semantic is not None:
            found = [category_id for category_id, _ in self.semantic_areas()]
        else:
            found = [] if self.instances is None else self.instances.category_ids.tolist()
        return [self.vocabulary.categories[category_id].name for category_id in dict.fromkeys(found)]

    def draw(self, style: DrawStyle = DEFAULT_STYLE, **choices: Any) -> np.ndarray:
        """The picture with the panoptic result painted over it; without one the semantic map, else the instances.

        Args:
            style: everything that can be chosen.
            choices: fields of `DrawStyle` to change in it.

        Returns:
            (H, W, 3) uint8, RGB; (H, W, 4) RGBA of a transparent style. A legend or the picture beside it make it
            larger.

        Raises:
            ValueError: a choice is not one that there is, or names a class or a view that the result has not.
        """
        return draw_result(self, replace(style, **choices))

    def _repr_png_(self) -> bytes:
        return notebook_png(self)

    def _repr_html_(self) -> str:
        return notebook_html(self)

    def __repr__(self) -> str:
        return summary(self)

    def save(self, path: str | Path, style: DrawStyle = DEFAULT_STYLE, **choices: Any) -> None:
        """Draw into an image file, atomically; the style as in `draw`.

        Raises:
            ValueError: the file name has no suffix of an image format.
        """
        save_picture(path, self.draw(style, **choices))

    def to_coco_panoptic(
        self, folder: str | Path, name: str = "image", image_id: int = 1, overwrite: bool = False
    ) -> tuple[Path, Path]:
        """Write the panoptic result as the COCO panoptic tools read it: `name.png` and `name.json`.

        Category ids are positions in the vocabulary; the JSON lists them. Of many pictures, `export` makes one JSON.

        Returns:
            The paths of the PNG and of the JSON file.

        Raises:
            ValueError: there is no panoptic result, or the name leads out of the folder.
            FileExistsError: one of the files is there, and `overwrite` is not set.
        """
        return write_coco_panoptic(self, Path(folder), name, image_id, overwrite)

    def to_dict(self, masks: bool = False, scores: bool = False) -> dict[str, Any]:
        """Sizes, segments, instances and class areas, ready for JSON.

        Args:
            masks: give each segment, instance and class its mask too, as COCO's compressed run lengths (`size`,
                `counts`), which `pycocotools.mask.decode` reads.
            scores: give each segment the classes that came nearest.
        """
        return result_to_dict(self, masks, scores)

    def to_json(self, masks: bool = False, scores: bool = False) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(masks, scores))

    def table(self) -> str:
        """A text table of what `draw` shows, largest first (instances: most certain first)."""
        return result_table(self)

    def export(
        self,
        folder: str | Path,
        format: str,
        name: str = "image.jpg",
        view: View | None = None,
        tolerance: float = DEFAULT_TOLERANCE,
    ) -> list[Path]:
        """Write the result as other programs read it; `fcclip.formats.registry` has the same for many pictures.

        Args:
            folder: where the files go.
            format: "coco-panoptic", "coco-instances", "coco-polygons", "yolo", "labelme", "label-studio",
                "label-studio-polygons", "class-ids", "cityscapes-ids", "ade20k-ids", "masks", "cutouts", "csv" or
                "geojson" (`FORMATS`).
            name: the picture's file name, by which the files refer to it and after which they are named.
            view: what is written, "panoptic", "semantic" or "instances"; None for what suits the format.
            tolerance: pixels by which polygons may deviate from their masks, to have fewer corners; 0 is exact.

        Returns:
            The files.

        Raises:
            ValueError: there is no such format, or the result has not what it needs.
        """
        writer = open_format(format, folder, WriterOptions(view, tolerance))
        written = writer.add(self, name)
        return [*written, *writer.finish()]

    def to_supervision(self, view: View | None = None) -> supervision.Detections:
        """The objects as `supervision.Detections`: boxes, masks, scores, class ids and `data["class_name"]`.

        Args:
            view: "panoptic", "semantic" or "instances"; by default instances where there are any.

        Raises:
            ModuleNotFoundError: supervision is not installed.
        """
        return to_supervision(self, view)

    def to_hf(self) -> dict[str, Any]:
        """What `post_process_panoptic_segmentation` of Hugging Face's Transformers returns.

        Returns:
            `segmentation`, an (H, W) int32 tensor of segment ids, and `segments_info`, with `id`, `label_id` (position
            in the vocabulary), `was_fused` (true for stuff) and `score` per segment.

        Raises:
            ValueError: there is no panoptic result.
        """
        return to_hf(self)

    def to_hf_pipeline(self, view: View | None = None) -> list[dict[str, Any]]:
        """What `pipeline("image-segmentation")` of Transformers returns: `score`, `label`, `mask` (PIL) per segment."""
        return to_hf_pipeline(self, view)
