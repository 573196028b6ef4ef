"""Open-vocabulary segmentation with one CLIP."""
# ruff: noqa: E402, what comes first has to precede the imports that it is about

import warnings

import cv2

# OpenCV's threads do not survive a fork, and a data worker that then calls OpenCV waits for them forever.
cv2.setNumThreads(0)
# fvcore, which Detectron2 imports, scripts two functions at import; nobody who uses this package can change that.
warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)

import fcclip.data.datasets
import fcclip.modeling  # noqa: F401, both register by name
from fcclip.config import add_fcclip_config, add_maskformer2_config, get_cfg
from fcclip.meta_arch.cascade_clip import CascadeCLIP
from fcclip.meta_arch.dense_clip import DenseCLIP, DenseCLIPPlus
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.two_stage import TwoStage
from fcclip.meta_arch.zegclip import ZegCLIP
from fcclip.segmentation import Segmentation
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary
from fcclip.weights import load_weights

__all__ = [
    "FCCLIP",
    "CascadeCLIP",
    "Category",
    "DenseCLIP",
    "DenseCLIPPlus",
    "Segmentation",
    "Segmenter",
    "TwoStage",
    "Vocabulary",
    "ZegCLIP",
    "add_fcclip_config",
    "add_maskformer2_config",
    "get_cfg",
    "load_weights",
]
