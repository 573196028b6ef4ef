"""PanoShapes, rendered into the cache folder when it is first used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from detectron2.data.catalog import Metadata

from fcclip.data.datasets.layouts import PanopticLayout, Record
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.video_layouts import VideoPanopticLayout
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clips import CLIP_SPLITS, CLIPS_WORLD, write_clips
from fcclip.data.panoshapes.dataset import SPLITS, WORLD, class_metadata, write_split
from fcclip.data.validation.findings import Findings
from fcclip.files.folders import cache_directory


@dataclass(frozen=True)
class RenderedLayout(PanopticLayout):
    """A COCO panoptic layout whose files are rendered if they are not there.

    Attributes:
        split: key of `SPLITS`.
    """

    split: str = ""

    def required(self) -> list[str]:
        return []

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        write_split((root / self.panoptic_json).parent, SPLITS[self.split])
        return super().load(root, metadata, findings)


@dataclass(frozen=True)
class RenderedClips(VideoPanopticLayout):
    """VIPSeg's layout whose files are rendered if they are not there.

    Attributes:
        split: key of `CLIP_SPLITS`.
    """

    split: str = ""

    def required(self) -> list[str]:
        return []

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        write_clips((root / self.panoptic_json).parent, CLIP_SPLITS[self.split])
        return super().load(root, metadata, findings)


def register_all() -> None:
    """Register every split."""
    for clips in CLIP_SPLITS.values():
        folder = f"{CLIPS_WORLD}/{clips.name}"
        register(
            DatasetSpec(
                name=f"panoshapes_{clips.name}_video",
                classes=partial(class_metadata, CLASSES),
                constants={"evaluator_type": "video_panoptic", "ignore_label": 255},
                layout=RenderedClips(
                    images=f"{folder}/images",
                    panoptic=f"{folder}/panoptic",
                    panoptic_json=f"{folder}/panoptic.json",
                    split=clips.name,
                ),
                sizes=(clips.clips,),
                root=cache_directory,
            )
        )
    for split in SPLITS.values():
        folder = f"{WORLD}/{split.name}"
        register(
            DatasetSpec(
                name=f"panoshapes_{split.name}_panoptic",
                classes=partial(class_metadata, split.classes),
                constants={"evaluator_type": "coco_panoptic_seg", "ignore_label": 255, "label_divisor": 1000},
                layout=RenderedLayout(
                    images=f"{folder}/images",
                    panoptic=f"{folder}/panoptic",
                    panoptic_json=f"{folder}/panoptic.json",
                    sem_seg=f"{folder}/semantic",
                    instances_json=f"{folder}/instances.json",
                    integer_ids=True,
                    split=split.name,
                ),
                sizes=(split.scenes,),
                root=cache_directory,
            )
        )


register_all()
