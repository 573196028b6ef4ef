"""Evaluation: PQ, AP and IoU on every dataset, counted as the reference tools do."""

from fcclip.evaluation.build import build_evaluator, build_evaluators, inference_folder
from fcclip.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.loop import evaluate
from fcclip.evaluation.lvis import LvisEvaluator
from fcclip.evaluation.panoptic import PanopticEvaluator
from fcclip.evaluation.semantic import SemanticEvaluator
from fcclip.evaluation.suite import evaluate_test_sets

__all__ = [
    "CityscapesInstanceEvaluator",
    "CityscapesSemSegEvaluator",
    "InstanceSegEvaluator",
    "LvisEvaluator",
    "PanopticEvaluator",
    "SemanticEvaluator",
    "build_evaluator",
    "build_evaluators",
    "evaluate",
    "evaluate_test_sets",
    "inference_folder",
]
