"""Every configuration of the zero-shot systems: the published numbers, and that its model can be built."""

import json
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model

from fcclip import get_cfg
from fcclip.data.datasets import REGISTERED
from tests.shared import SHARED, needs_shared
from tests.tiny import CLIP_DESCRIPTIONS, REPOSITORY
from tests.zero_shot import CLIP

FOLDER = REPOSITORY / "configs" / "zero_shot"
CONFIGS = sorted(path for path in FOLDER.glob("*/*.yaml") if not path.name.startswith("Base"))
SETTINGS = {"inductive": "inductive", "transductive": "transductive", "fully": "fully_supervised"}
DATASETS = {"voc": "voc12", "coco": "coco_stuff", "context": "context"}


def read(path: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(path))
    return cfg


def published() -> list[tuple[str, str]]:
    if not SHARED.is_dir():
        return []
    systems = {"zegclip": "zegclip", "cascade": "cascade_clip"}
    found = []
    for system, folder in systems.items():
        rows = json.loads((SHARED / f"parity/zegclip_cascade/resolved_configs_{system}.json").read_text())
        found += [(system, row) for row in rows if not row.startswith("cross")]
        assert (FOLDER / folder).is_dir()
    return found


@needs_shared
@pytest.mark.parametrize(("system", "row"), published())
def test_published_rows(system, row) -> None:
    recorded = json.loads((SHARED / f"parity/zegclip_cascade/resolved_configs_{system}.json").read_text())[row]
    dataset, setting = row.split("_")
    folder = {"zegclip": "zegclip", "cascade": "cascade_clip"}[system]
    cfg = read(FOLDER / folder / f"{DATASETS[dataset]}_{setting}.yaml")
    node, solver = cfg.MODEL.ZERO_SHOT, cfg.SOLVER
    assert SETTINGS[setting] == node.SETTING
    assert recorded["num_tokens"] == node.NUM_PROMPTS
    assert [block for group in node.BLOCK_GROUPS for block in group if block not in (11, -1)] == (
        recorded["out_indices"] if system == "cascade" else []
    )
    assert [recorded["test_cfg"]["crop_size"][0], recorded["test_cfg"]["stride"][0]] == [node.CROP_SIZE, node.STRIDE]
    assert (recorded["loss"]["mask_weight"], recorded["loss"]["dice_weight"]) == (node.MASK_WEIGHT, node.DICE_WEIGHT)
    assert recorded["runner"]["max_iters"] == solver.MAX_ITER
    assert recorded["checkpoint_interval"] == solver.CHECKPOINT_PERIOD
    assert 4 * recorded["samples_per_gpu"] == solver.IMS_PER_BATCH
    assert ("single" if "single" in recorded["text"] else "multiple") == node.TEMPLATES
    assert (0.0 if recorded["self_training"] else 0.1) == node.SEEN_PENALTY
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    assert len(metadata.stuff_classes) == recorded["n_all"]
    if setting != "fully":
        assert metadata.unseen_classes == recorded["unseen"]
    if setting == "transductive":
        inductive = read(FOLDER / folder / f"{DATASETS[dataset]}_inductive.yaml")
        half = inductive.SOLVER.MAX_ITER // 2
        assert f"{inductive.OUTPUT_DIR}/model_{half - 1:07d}.pth" == cfg.MODEL.WEIGHTS
        assert half == solver.MAX_ITER


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_its_model_is_built(path) -> None:
    cfg = read(path)
    assert {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST} <= set(REGISTERED)
    assert path.stem in cfg.OUTPUT_DIR
    cfg.MODEL.WEIGHTS = cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME = str(
        CLIP if cfg.MODEL.BACKBONE.NAME == "ViTCLIP" else CLIP_DESCRIPTIONS["convnext"]
    )
    cfg.MODEL.FC_CLIP.TEXT_CACHE = False
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (trained == 0) == ("training_free" in path.stem)
