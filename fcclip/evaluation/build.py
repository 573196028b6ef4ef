"""Which evaluators a dataset gets: its `evaluator_type` and the switches of MODEL.MASK_FORMER.TEST decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from fcclip.evaluation.base import ImageEvaluator
from fcclip.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.lvis import LvisEvaluator
from fcclip.evaluation.panoptic import PanopticEvaluator
from fcclip.evaluation.panoptic_export import PanopticExport
from fcclip.evaluation.semantic import SemanticEvaluator
from fcclip.evaluation.video import VideoInstanceEvaluator, VideoPanopticEvaluator, VideoSemanticEvaluator


@dataclass(frozen=True)
class EvaluatorOptions:
    """What some evaluators can be told.

    Attributes:
        unseen: contiguous ids of classes not seen in training.
        export: where panoptic predictions are written, or None.
        semantic_export, instance_export: folders into which these predictions are written, or None.
    """

    unseen: tuple[int, ...] = ()
    export: PanopticExport | None = None
    semantic_export: Path | None = None
    instance_export: Path | None = None


Maker = Callable[[str, EvaluatorOptions], ImageEvaluator]


def _panoptic(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return PanopticEvaluator(dataset_name, options.unseen, options.export)


def _semantic(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return SemanticEvaluator(dataset_name, options.unseen, options.semantic_export)


def _instances(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return InstanceSegEvaluator(dataset_name, options.instance_export)


def _lvis(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return LvisEvaluator(dataset_name, options.instance_export)


def _cityscapes_semantic(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return CityscapesSemSegEvaluator(dataset_name, options.unseen)


def _cityscapes_instances(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return CityscapesInstanceEvaluator(dataset_name)


def _video_panoptic(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return VideoPanopticEvaluator(dataset_name, options.export.folder if options.export else None)


def _video_instances(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return VideoInstanceEvaluator(dataset_name, options.instance_export)


def _video_semantic(dataset_name: str, options: EvaluatorOptions) -> ImageEvaluator:
    return VideoSemanticEvaluator(dataset_name)


ALWAYS = ""
_ALL_TASKS: dict[str, Maker] = {"PANOPTIC_ON": _panoptic, "SEMANTIC_ON": _semantic, "INSTANCE_ON": _instances}
# evaluator_type -> the switch in MODEL.MASK_FORMER.TEST that asks for it -> evaluator
EVALUATORS: dict[str, dict[str, Maker]] = {
    "sem_seg": {ALWAYS: _semantic},
    "coco_panoptic_seg": _ALL_TASKS,
    "ade20k_panoptic_seg": _ALL_TASKS,
    "mapillary_vistas_panoptic_seg": _ALL_TASKS,
    "cityscapes_panoptic_seg": {
        "PANOPTIC_ON": _panoptic,
        "SEMANTIC_ON": _cityscapes_semantic,
        "INSTANCE_ON": _cityscapes_instances,
    },
    "cityscapes_sem_seg": {ALWAYS: _cityscapes_semantic},
    "cityscapes_instance": {ALWAYS: _cityscapes_instances},
    "coco": {ALWAYS: _instances},
    "lvis": {ALWAYS: _lvis},
    "video_panoptic": {ALWAYS: _video_panoptic},
    "video_instance": {ALWAYS: _video_instances},
    "video_semantic": {ALWAYS: _video_semantic},
}
SCORERS = ("memory", "panopticapi")


def build_evaluators(
    cfg: CfgNode, dataset_name: str, output_folder: str | Path | None = None, unseen: Sequence[int] | None = None
) -> list[ImageEvaluator]:
    """The evaluators of a dataset.

    Args:
        cfg: TEST.{PANOPTIC,SEMANTIC,INSTANCE}_EXPORT say which predictions are written, TEST.PANOPTIC_SCORER who
            scores the panoptic ones.
        dataset_name: its metadata has `evaluator_type`, one of `EVALUATORS`.
        output_folder: where predictions are written; default OUTPUT_DIR/inference/DATASET.
        unseen: contiguous ids of classes not seen in training; default the metadata's `unseen_classes`, if any.

    Raises:
        ValueError: an unknown evaluator type or scorer, or every switch is off.
    """
    metadata = MetadataCatalog.get(dataset_name)
    kind = metadata.get("evaluator_type")
    if kind not in EVALUATORS:
        raise ValueError(
            f'dataset "{dataset_name}" has evaluator_type {kind!r}; set it in its metadata to one of '
            f"{', '.join(EVALUATORS)}"
        )
    switches = cfg.MODEL.MASK_FORMER.TEST
    makers = [maker for switch, maker in EVALUATORS[kind].items() if switch == ALWAYS or switches[switch]]
    if not makers:
        raise ValueError(
            f'nothing is to be evaluated on "{dataset_name}": set one of PANOPTIC_ON, SEMANTIC_ON and INSTANCE_ON '
            "of MODEL.MASK_FORMER.TEST True"
        )
    folder = Path(output_folder or inference_folder(cfg, dataset_name))
    options = EvaluatorOptions(
        unseen=tuple((metadata.get("unseen_classes") or ()) if unseen is None else unseen),
        export=_panoptic_export(cfg, folder),
        semantic_export=folder if cfg.TEST.SEMANTIC_EXPORT else None,
        instance_export=folder if cfg.TEST.INSTANCE_EXPORT else None,
    )
    return [maker(dataset_name, options) for maker in makers]


def build_evaluator(
    cfg: CfgNode, dataset_name: str, output_folder: str | Path | None = None, unseen: Sequence[int] | None = None
) -> DatasetEvaluator:
    """As `build_evaluators`, for Detectron2's own loops: one evaluator that runs them all."""
    evaluators = build_evaluators(cfg, dataset_name, output_folder, unseen)
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


def inference_folder(cfg: CfgNode, dataset_name: str) -> Path:
    """Where everything about the evaluation of a dataset goes."""
    return Path(cfg.OUTPUT_DIR) / "inference" / dataset_name


def _panoptic_export(cfg: CfgNode, folder: Path) -> PanopticExport | None:
    scorer = cfg.TEST.PANOPTIC_SCORER
    if scorer not in SCORERS:
        raise ValueError(f"TEST.PANOPTIC_SCORER must be one of {', '.join(SCORERS)}, not {scorer!r}")
    if scorer == "memory" and not cfg.TEST.PANOPTIC_EXPORT:
        return None
    return PanopticExport(folder, with_panopticapi=scorer == "panopticapi")
