"""Evaluation on every test set, each with its own classes."""

from __future__ import annotations

import logging
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from torch import nn
from torch.utils.data import DataLoader

from fcclip.data.mappers import TestMapper
from fcclip.engine.distributed import unwrapped
from fcclip.evaluation.build import build_evaluator

logger = logging.getLogger(__name__)


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader[Any]:
    """Images of a test set, one a batch, shared among the processes."""
    return build_detection_test_loader(cfg, dataset_name, mapper=TestMapper(cfg))


def ask_for_dataset(model: nn.Module, dataset_name: str) -> None:
    """Let a model give the classes of a dataset; of the semantic scores its evaluators need the best class only."""
    target: Any = unwrapped(model)
    target.set_metadata(MetadataCatalog.get(dataset_name))
    target.semantic_labels_only = True


def evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Evaluate a model on all of DATASETS.TEST.

    Returns:
        On the main process the metrics by task, such as {"panoptic_seg": {"PQ": ...}}; of several test sets, those by
        name of the test set. On other processes empty dicts.
    """
    results: dict[str, Any] = {}
    for name in cfg.DATASETS.TEST:
        ask_for_dataset(model, name)
        results[name] = inference_on_dataset(unwrapped(model), build_test_loader(cfg, name), build_evaluator(cfg, name))
        if comm.is_main_process():
            logger.info("results on %s:", name)
            print_csv_format(results[name])
    return next(iter(results.values())) if len(results) == 1 else results
