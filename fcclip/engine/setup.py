"""What comes before a training: the configuration, the places, the log."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from fcclip.config import load_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.files.atomic import write_text
from fcclip.files.checkpoints import CLIP_PREFIX, holds_prefix, require_weight_file
from fcclip.files.places import require_writable_folder
from fcclip.files.schemes import locate_weights

logger = logging.getLogger(__name__)

# Where the CLIPs of PanoShapes come from, which are not on the network.
HOME_MADE_CLIPS = {
    "panoshapes_convnext_atto": "train it: python tools/train_panoshapes_clip.py, or take that of the model in the "
    "package: MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS fcclip/assets/panoshapes/fcclip_small.safetensors",
    "panoshapes_vit": "train it: python tools/train_panoshapes_clip.py --recipe vit --output output/panoshapes_vit, "
    "or take that of the model in the package: "
    "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS fcclip/assets/zegclip_small/zegclip_small.safetensors",
}
# What a training leaves in its OUTPUT_DIR.
TRACES = ("last_checkpoint", "model_*.pth", "metrics.json")


def load_config(args: argparse.Namespace) -> CfgNode:
    """The frozen configuration of a command line; weights that are given by name are fetched if they are not here.

    Raises:
        FileNotFoundError: there is no such file, or the weights could not be fetched.
        ValueError: a key is unknown, a value does not fit its key, or the device is not there.
    """
    cfg = load_cfg(args.config_file, args.opts)
    if torch.device(cfg.MODEL.DEVICE).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "MODEL.DEVICE is cuda, but PyTorch finds no GPU; add MODEL.DEVICE cpu SOLVER.AMP.ENABLED False to compute "
            "on the CPU"
        )
    if cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = str(locate_weights(cfg.MODEL.WEIGHTS))  # fetched once, and not in every process
    if not args.eval_only and mask_generator_file(cfg):
        cfg.MODEL.OVRCOAT.SEM_SEG_WEIGHTS = str(locate_weights(cfg.MODEL.OVRCOAT.SEM_SEG_WEIGHTS))
    if args.resume and (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file() and not Path(cfg.MODEL.WEIGHTS).is_file():
        cfg.MODEL.WEIGHTS = ""  # what the training began with is no longer needed
    cfg.freeze()
    return cfg


def mask_generator_file(cfg: CfgNode) -> str:
    """The file whose mask generator a training of OVRCOAT begins with; "" for none, or where MODEL.WEIGHTS has all."""
    begins = cfg.MODEL.META_ARCHITECTURE == "OVRCOAT" and cfg.TRAIN.USE_PRETRAINED_SEG_HEAD_WEIGHTS
    return cfg.MODEL.OVRCOAT.SEM_SEG_WEIGHTS if begins and not cfg.MODEL.WEIGHTS else ""


def check_places(cfg: CfgNode, args: argparse.Namespace) -> None:
    """See that all weights are there and that OUTPUT_DIR can take what will come, before any work.

    Raises:
        FileNotFoundError: the weights of the model or of its CLIP are not there; says how to get them.
        ValueError: OUTPUT_DIR cannot be written to, or holds another training already.
    """
    if not args.dry_run:
        require_writable_folder(cfg.OUTPUT_DIR)
    if not (args.eval_only or args.dry_run or args.resume):
        _require_unused(Path(cfg.OUTPUT_DIR))
    if cfg.MODEL.WEIGHTS:
        require_weight_file(cfg.MODEL.WEIGHTS)
    generator = mask_generator_file(cfg)
    if generator and not (args.eval_only or args.resume or Path(generator).expanduser().is_file()):
        raise FileNotFoundError(
            f"there is no mask generator {generator} to begin with (MODEL.OVRCOAT.SEM_SEG_WEIGHTS); set "
            "TRAIN.USE_PRETRAINED_SEG_HEAD_WEIGHTS False to begin with random weights"
        )
    clip = cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS
    is_file = Path(clip).suffix in (".pt", ".bin", ".safetensors", ".pth")
    if not is_file or Path(clip).expanduser().is_file():
        return
    if not cfg.MODEL.WEIGHTS or not holds_prefix(cfg.MODEL.WEIGHTS, CLIP_PREFIX):
        advice = HOME_MADE_CLIPS.get(cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME, "check MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS")
        raise FileNotFoundError(f"there is no CLIP weight file {clip}; {advice}")


def _require_unused(folder: Path) -> None:
    """A second training in a folder would overwrite the first one's checkpoints and go on in its metrics.json."""
    traces = sorted(path.name for pattern in TRACES for path in folder.glob(pattern))
    if traces:
        raise ValueError(
            f"OUTPUT_DIR {folder} holds a training already ({', '.join(traces[:3])}); go on with it by --resume, or "
            "name another folder by OUTPUT_DIR at the end of the command"
        )


def setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Start log.txt in OUTPUT_DIR, write config.yaml there, seed this process, register the config's own datasets.

    config.yaml is that of a training; evaluating writes `inference/config.yaml`.
    """
    rank = comm.get_rank()
    for name in ("fvcore", "detectron2", "fcclip"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger.info("process %d of %d; %s", rank, comm.get_world_size(), args)
    logger.info("environment:\n%s", collect_env_info())
    if comm.is_main_process() and not args.dry_run:
        path = Path(cfg.OUTPUT_DIR) / ("inference/config.yaml" if args.eval_only else "config.yaml")
        write_text(path, cfg.dump())
        logger.info("the whole configuration is in %s", path)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    register_custom_datasets(cfg)
