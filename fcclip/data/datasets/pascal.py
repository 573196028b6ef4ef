"""PASCAL VOC 2012 with 20 or 21 classes and PASCAL Context with 59 or 459, semantic."""

from __future__ import annotations

from functools import partial

from fcclip.data.datasets.layouts import SemanticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import semantic_table_metadata

_FOLDERS = {"train": "training", "val": "validation"}
_VOC_SIZES = {"train": (1464,), "val": (1449,)}
# The list of annotations holds 5105 validation images; the published logs count 5104.
_CONTEXT_SIZES = {"train": (4998,), "val": (5104, 5105)}


def register_all() -> None:
    """Register every PASCAL dataset."""
    for split in _FOLDERS:
        for classes in (20, 21):
            _register_voc(split, classes)
        for classes in (59, 459):
            _register_context(split, classes)


def _register_voc(split: str, classes: int) -> None:
    folder = _FOLDERS[split]
    register(
        DatasetSpec(
            name=f"openvocab_pascal{classes}_sem_seg_{split}",
            classes=partial(semantic_table_metadata, "pascal_voc_21", skip_first=classes == 20),
            constants={"evaluator_type": "sem_seg", "ignore_label": 255},
            layout=SemanticLayout(
                f"pascal_voc_d2/images/{folder}", f"pascal_voc_d2/annotations_pascal{classes}/{folder}"
            ),
            how_to_get="Download PASCAL VOC 2012 as datasets/README.md says, then run "
            "`python datasets/prepare_pascal_voc_sem_seg.py`.",
            sizes=_VOC_SIZES[split],
        )
    )


def _register_context(split: str, classes: int) -> None:
    folder = _FOLDERS[split]
    full = classes == 459
    script = "prepare_pascal_ctx_full_sem_seg.py" if full else "prepare_pascal_ctx_sem_seg.py"
    register(
        DatasetSpec(
            name=f"openvocab_pascal_ctx{classes}_sem_seg_{split}",
            classes=partial(semantic_table_metadata, f"pascal_ctx_{classes}"),
            constants={"evaluator_type": "sem_seg", "ignore_label": 65535 if full else 255},
            layout=SemanticLayout(
                f"pascal_ctx_d2/images/{folder}",
                f"pascal_ctx_d2/annotations_ctx{classes}/{folder}",
                label_suffixes=(".tif",) if full else (".png",),
            ),
            how_to_get=f"Download PASCAL VOC 2010 and Context as datasets/README.md says, then run "
            f"`python datasets/{script}`.",
            sizes=_CONTEXT_SIZES[split],
        )
    )


register_all()
