"""Overfit a few images with a small, random CLIP: shows on a CPU, in minutes, that training works.

    python tools/overfit_sample.py --data FOLDER --output overfit
    python tools/plot_training.py overfit --output overfit/curve.png

FOLDER holds `images`, `panoptic` and `panoptic.json` in COCO's panoptic format. CLIP stays random and frozen, so its
own classifier is switched off; the mask generator learns the images by heart.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
from detectron2.config import CfgNode

from fcclip import get_cfg
from fcclip.engine.errors import run_tool
from fcclip.engine.setup import setup
from fcclip.engine.trainer import Trainer
from fcclip.files.atomic import write_json
from fcclip.files.panoptic import read_panoptic_json, write_panoptic_json

BASE = Path(__file__).resolve().parents[1] / "configs/coco/panoptic-segmentation/fcclip"
DATASET = "overfit_sample"
CLIP = {
    "embed_dim": 64,
    "vision_cfg": {
        "timm_model_name": "test_convnext",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "mlp",
        "image_size": 64,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}
SETTINGS: dict[str, Any] = {
    "MODEL.DEVICE": "cpu",
    "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS": "",
    "MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS": True,
    "MODEL.FC_CLIP.EMBED_DIM": CLIP["embed_dim"],
    "MODEL.FC_CLIP.GEOMETRIC_ENSEMBLE_ALPHA": 0.0,
    "MODEL.FC_CLIP.GEOMETRIC_ENSEMBLE_BETA": 0.0,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 128,
    "MODEL.SEM_SEG_HEAD.MASK_DIM": 128,
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 1,
    "MODEL.MASK_FORMER.HIDDEN_DIM": 128,
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD": 512,
    "MODEL.MASK_FORMER.DEC_LAYERS": 4,
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 60,
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": 2048,
    "MODEL.MASK_FORMER.TEST.SEMANTIC_ON": False,
    "MODEL.MASK_FORMER.TEST.INSTANCE_ON": False,
    "DATASETS.TRAIN": (DATASET,),
    "DATASETS.TEST": (DATASET,),
    "DATALOADER.NUM_WORKERS": 0,
    # Every step sees the same pixels, at the size that evaluation sees them.
    "INPUT.IMAGE_SIZE": 320,
    "INPUT.MIN_SCALE": 1.0,
    "INPUT.MAX_SCALE": 1.0,
    "INPUT.RANDOM_FLIP": "none",
    "INPUT.MIN_SIZE_TEST": 320,
    "INPUT.MAX_SIZE_TEST": 320,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 1e-3,
    "SOLVER.AMP.ENABLED": False,
    "SOLVER.CHECKPOINT_PERIOD": 25,
    "SOLVER.LOG_PERIOD": 10,
    "TEST.EVAL_PERIOD": 50,
    "SEED": 1,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images, panoptic and panoptic.json")
    parser.add_argument("--output", type=Path, default=Path("overfit"), help="folder of the results (%(default)s)")
    parser.add_argument("--iterations", type=int, default=600, help="steps of two images (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args(arguments)
    cfg = build_cfg(options.data.resolve(), options.output.resolve(), options.iterations)
    setup(cfg, options)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=options.resume)
    results = trainer.train()
    print(json.dumps(results["panoptic_seg"]))


def build_cfg(data: Path, output: Path, iterations: int) -> CfgNode:
    """The training configuration, shrunk; writes what it refers to into `output`."""
    content = read_panoptic_json(data / "panoptic.json")
    used = {segment["category_id"] for record in content.annotations.values() for segment in record["segments_info"]}
    categories = [category for category in content.categories.values() if category["id"] in used]
    write_panoptic_json(output / "panoptic.json", content.annotations.values(), categories, content.images.values())
    write_json(output / "overfit_clip.json", CLIP)
    entry = {
        "NAME": DATASET,
        "FORMAT": "coco_panoptic",
        "IMAGES": str(data / "images"),
        "PANOPTIC": str(data / "panoptic"),
        "JSON": str(output / "panoptic.json"),
    }
    settings = {
        **SETTINGS,
        "MODEL.FC_CLIP.CLIP_MODEL_NAME": str(output / "overfit_clip.json"),
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": len(categories),
        "DATASETS.CUSTOM": [entry],
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.STEPS": (iterations * 4 // 5,),
        "OUTPUT_DIR": str(output),
    }
    cfg = get_cfg()
    cfg.merge_from_file(str(BASE / "fcclip_convnext_large_eval_ade20k.yaml"))
    cfg.merge_from_list([word for setting in settings.items() for word in setting])
    cfg.freeze()
    return cfg


if __name__ == "__main__":
    sys.exit(run_tool(main))
