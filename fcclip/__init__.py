"""Open-vocabulary segmentation with one CLIP."""

import fcclip.compat  # isort: split

import fcclip.clip.trainable
import fcclip.data.datasets
import fcclip.modeling  # noqa: F401, all register by name
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
