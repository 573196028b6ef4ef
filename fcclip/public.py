"""The names of `fcclip`; importing them registers models and datasets with Detectron2.

Raises:
    ModuleNotFoundError: Detectron2 is not installed; the message tells how to install it.
"""
# ruff: noqa: E402, what comes first has to precede the imports that it is about

import importlib.util
import os

from fcclip.registration import NO_DETECTRON2

if importlib.util.find_spec("detectron2") is None:
    raise ModuleNotFoundError(NO_DETECTRON2, name="detectron2")

import cv2
import torch

# Threads do not survive a fork: a data worker that calls OpenCV, or a child that computes as its parent did, would wait
# for them forever.
cv2.setNumThreads(0)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

import fcclip.data.datasets
import fcclip.modeling  # noqa: F401, both register by name
from fcclip.config import add_fcclip_config, add_maskformer2_config, get_cfg
from fcclip.data.mappers import (
    COCOInstanceNewBaselineDatasetMapper,
    COCOPanopticNewBaselineDatasetMapper,
    MaskFormerInstanceDatasetMapper,
    MaskFormerPanopticDatasetMapper,
    MaskFormerSemanticDatasetMapper,
)
from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.tta import SemanticSegmentorWithTTA
from fcclip.meta_arch.cascade_clip import CascadeCLIP
from fcclip.meta_arch.dense_clip import DenseCLIP, DenseCLIPPlus
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.maft_plus import MAFT_Plus
from fcclip.meta_arch.minvis_ov import MinVIS_OV
from fcclip.meta_arch.ovrcoat import OVRCOAT
from fcclip.meta_arch.two_stage import TwoStage
from fcclip.meta_arch.zegclip import ZegCLIP
from fcclip.segmentation import Segmentation
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary
from fcclip.weights import load_weights

__all__ = [
    "FCCLIP",
    "OVRCOAT",
    "COCOInstanceNewBaselineDatasetMapper",
    "COCOPanopticNewBaselineDatasetMapper",
    "CascadeCLIP",
    "Category",
    "DenseCLIP",
    "DenseCLIPPlus",
    "InstanceSegEvaluator",
    "MAFT_Plus",
    "MaskFormerInstanceDatasetMapper",
    "MaskFormerPanopticDatasetMapper",
    "MaskFormerSemanticDatasetMapper",
    "MinVIS_OV",
    "Segmentation",
    "Segmenter",
    "SemanticSegmentorWithTTA",
    "TwoStage",
    "Vocabulary",
    "ZegCLIP",
    "add_fcclip_config",
    "add_maskformer2_config",
    "get_cfg",
    "load_weights",
]
