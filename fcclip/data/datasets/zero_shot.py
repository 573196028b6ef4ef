"""Zero-shot splits: PASCAL VOC (15 seen, 5 unseen classes), COCO-Stuff (156 / 15) and PASCAL Context (49 / 10).

The files are those of the other registrations; the names are plain, as the published text embeddings were made of them.
The `transfer_*` sets have no unseen classes: they judge a model that was trained on another dataset.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fcclip.data.datasets.layouts import SemanticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import category_table, semantic_table_metadata

VOC_UNSEEN = (15, 16, 17, 18, 19)
COCO_STUFF_UNSEEN = (19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160)
# The ids of Cascade-CLIP's released configurations. They are ZS3Net's in another order of the classes, so that they
# stand for aeroplane, bed, bedclothes, boat, bottle, car, cloth, cow, keyboard and plate.
CONTEXT_UNSEEN_RELEASED = (0, 2, 3, 7, 9, 13, 17, 19, 31, 37)
# The classes that ZS3Net meant: aeroplane, bird, boat, cat, cow, fence, keyboard, motorbike, sofa, tvmonitor.
CONTEXT_UNSEEN_ZS3NET = (0, 6, 7, 14, 19, 24, 31, 33, 48, 54)
# Names that the category table spells otherwise; the published embedding of class 0 is that of "airplane".
CONTEXT_NAMES = {0: "airplane", 49: "table"}

_VOC = "Download PASCAL VOC 2012 as datasets/README.md says, then run `python datasets/prepare_pascal_voc_sem_seg.py`."
_SBD = "Download SBD as datasets/README.md says, then run `python datasets/prepare_pascal_voc_aug_sem_seg.py`."
_COCO = (
    "Download COCO 2017 and its stuffthingmaps as datasets/README.md says, then run "
    "`python datasets/prepare_coco_stuff_sem_seg.py`."
)
_CONTEXT = (
    "Download PASCAL VOC 2010 and Context as datasets/README.md says, then run "
    "`python datasets/prepare_pascal_ctx_sem_seg.py`."
)


def zero_shot_classes(
    stem: str, unseen: tuple[int, ...], skip_first: bool = False, renamed: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Class metadata of a semantic dataset with plain names and `unseen_classes`.

    Args:
        stem: name of the category table.
        unseen: contiguous ids; empty for a set without a split.
        skip_first: drop a background class.
        renamed: names that replace the table's, by contiguous id.
    """
    classes = semantic_table_metadata(stem, skip_first=skip_first)
    names = list(category_table(stem).names[int(skip_first) :])
    for index, name in (renamed or {}).items():
        names[index] = name
    # The vocabulary files hold synonyms, which are not what these models were trained with.
    plain = {key: value for key, value in classes.items() if not key.startswith("vocabulary")}
    return {**plain, "stuff_classes": names, **({"unseen_classes": list(unseen)} if unseen else {})}


def register_all() -> None:
    """Register every zero-shot dataset."""
    voc = partial(zero_shot_classes, "pascal_voc_21", VOC_UNSEEN, skip_first=True)
    all_voc = partial(zero_shot_classes, "pascal_voc_21", (), skip_first=True)
    _register("zero_shot_voc12_train", voc, *_voc_folders("training"), _VOC, (1464,))
    _register("zero_shot_voc12_aug", voc, *_voc_folders("training_aug"), _SBD, (9118,))
    _register("zero_shot_voc12_val", voc, *_voc_folders("validation"), _VOC, (1449,))
    _register("transfer_voc12_val", all_voc, *_voc_folders("validation"), _VOC, (1449,))
    for split, size in (("train", 118287), ("val", 5000)):
        coco = partial(zero_shot_classes, "coco_stuff", COCO_STUFF_UNSEEN)
        folders = f"coco/{split}2017", f"coco/stuffthingmaps_detectron2/{split}2017"
        _register(f"zero_shot_coco_stuff_{split}", coco, *folders, _COCO, (size,))
    splits = {
        "zero_shot_context": CONTEXT_UNSEEN_RELEASED,
        "zero_shot_context_zs3net": CONTEXT_UNSEEN_ZS3NET,
        "transfer_context": (),
    }
    for name, unseen in splits.items():
        context = partial(zero_shot_classes, "pascal_ctx_59", unseen, renamed=CONTEXT_NAMES)
        if unseen:
            _register(f"{name}_train", context, *_context_folders("training"), _CONTEXT, (4998,))
        _register(f"{name}_val", context, *_context_folders("validation"), _CONTEXT, (5104, 5105))


def _register(name: str, classes: Any, images: str, labels: str, how_to_get: str, sizes: tuple[int, ...]) -> None:
    register(
        DatasetSpec(
            name=name,
            classes=classes,
            constants={"evaluator_type": "sem_seg", "ignore_label": 255},
            layout=SemanticLayout(images, labels),
            how_to_get=how_to_get,
            sizes=sizes,
        )
    )


def _voc_folders(split: str) -> tuple[str, str]:
    return f"pascal_voc_d2/images/{split}", f"pascal_voc_d2/annotations_pascal20/{split}"


def _context_folders(split: str) -> tuple[str, str]:
    return f"pascal_ctx_d2/images/{split}", f"pascal_ctx_d2/annotations_ctx59/{split}"


register_all()
