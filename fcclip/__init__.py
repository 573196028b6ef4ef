"""Open-vocabulary segmentation with one CLIP."""

import fcclip.data.datasets
import fcclip.modeling  # noqa: F401, both register by name
from fcclip.config import add_fcclip_config, add_maskformer2_config, get_cfg
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.vocabulary import Category, Vocabulary
from fcclip.weights import load_weights

__all__ = [
    "FCCLIP",
    "Category",
    "Vocabulary",
    "add_fcclip_config",
    "add_maskformer2_config",
    "get_cfg",
    "load_weights",
]
