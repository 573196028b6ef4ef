from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from detectron2.config import get_cfg as detectron2_cfg
from detectron2.projects.deeplab import add_deeplab_config

import fcclip
from fcclip.clip.vit import ENCODERS, LEVEL_PROJECTIONS
from fcclip.data.mappers import TRAIN_MAPPERS
from fcclip.files.config_checks import CHOICES, validate
from fcclip.meta_arch.zero_shot_vocabularies import SETTINGS, ZERO_SHOT_TEMPLATES
from fcclip.modeling.content_transfer import FORMS
from fcclip.modeling.deformable.backends import BACKENDS
from fcclip.modeling.zero_shot.loss import LOSSES
from tests.tiny import PUBLISHED_CONFIGS, REPOSITORY, tiny_cfg, tiny_model

TEST_SETS = {
    "ade20k": ("openvocab_ade20k_panoptic_val", (1, 1, 1), (800, 1333)),
    "coco": ("openvocab_coco_2017_val_panoptic_with_sem_seg", (1, 1, 1), (800, 1333)),
    "cityscapes": ("openvocab_cityscapes_fine_panoptic_val", (1, 1, 1), (1024, 2560)),
    "mapillary_vistas": ("openvocab_mapillary_vistas_panoptic_val", (1, 0, 1), (1024, 2560)),
    "a847": ("openvocab_ade20k_full_sem_seg_val", (1, 0, 0), (800, 1333)),
    "pc59": ("openvocab_pascal_ctx59_sem_seg_val", (1, 0, 0), (800, 1333)),
    "pc459": ("openvocab_pascal_ctx459_sem_seg_val", (1, 0, 0), (800, 1333)),
    "pas20": ("openvocab_pascal20_sem_seg_val", (1, 0, 0), (800, 1333)),
    "pas21": ("openvocab_pascal21_sem_seg_val", (1, 0, 0), (800, 1333)),
}
RESNETS = {"r50": ("RN50", 1024), "r101": ("RN101", 512), "r50x4": ("RN50x4", 640), "r50x16": ("RN50x16", 768)}
RESNETS["r50x64"] = ("RN50x64", 1024)


def load(name: str) -> fcclip.config.CfgNode:
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS / f"fcclip_convnext_large_eval_{name}.yaml"))
    return cfg


@pytest.mark.parametrize("name", TEST_SETS)
def test_evaluation_configs_name_dataset_tasks_and_size(name: str) -> None:
    cfg = load(name)
    dataset, tasks, size = TEST_SETS[name]
    test = cfg.MODEL.MASK_FORMER.TEST
    assert (dataset,) == cfg.DATASETS.TEST
    assert tasks == (test.SEMANTIC_ON, test.INSTANCE_ON, test.PANOPTIC_ON)
    assert size == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    assert cfg.DATASETS.TRAIN == ("openvocab_coco_2017_train_panoptic_with_sem_seg",)
    assert (test.OVERLAP_THRESHOLD, test.OBJECT_MASK_THRESHOLD) == (0.8, 0.0)


@pytest.mark.parametrize("name", RESNETS)
def test_resnet_configs(name: str) -> None:
    node = load(f"ade20k_{name}").MODEL.FC_CLIP
    assert RESNETS[name] == (node.CLIP_MODEL_NAME, node.EMBED_DIM)
    assert node.CLIP_PRETRAINED_WEIGHTS == "openai"
    assert node.ENSEMBLE_ON_VALID_MASK
    assert (node.GEOMETRIC_ENSEMBLE_ALPHA, node.GEOMETRIC_ENSEMBLE_BETA) == (0.4, 0.8)


def test_training_values_are_the_published_ones() -> None:
    cfg = load("ade20k")
    assert cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES == 250
    assert cfg.MODEL.MASK_FORMER.DEC_LAYERS == 10
    assert cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS == 6
    assert (cfg.MODEL.MASK_FORMER.CLASS_WEIGHT, cfg.MODEL.MASK_FORMER.MASK_WEIGHT) == (2.0, 5.0)
    assert cfg.SOLVER.STEPS == (327778, 355092)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR) == (368750, 16, 1e-4)
    assert (cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE) == ("full_model", 0.01)
    assert cfg.SOLVER.AMP.ENABLED
    assert cfg.INPUT.DATASET_MAPPER_NAME == "coco_panoptic_lsj"
    assert list(fcclip.config.CLIP_PIXEL_MEAN) == cfg.MODEL.PIXEL_MEAN


def family(name: str) -> fcclip.config.CfgNode:
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS.parent / f"{name}.yaml"))
    return cfg


# alpha, beta, threshold of the adapter's masks, form of the transfer, overlap, least score, queries, classes
FAMILY = {
    "mask_adapter/fcclip_convnext_large_eval_ade20k": (0.7, 0.9, 0.5, "", 0.8, 0.0, 250, 133),
    "mask_adapter/maftp/train_semantic_large_eval_a150": (0.8, 1.0, 0.4, "panoptic", 0.7, 0.0, 100, 171),
    "mask_adapter/maftp/train_semantic_base_eval_a150": (0.7, 1.0, 0.45, "semantic", 0.7, 0.0, 100, 171),
    "maft_plus/semantic/eval": (-1, -1, 0.5, "semantic", 0.7, 0.2, 100, 171),
    "maft_plus/semantic/train_semantic_base": (-1, -1, 0.5, "semantic", 0.7, 0.2, 100, 171),
    "maft_plus/panoptic/eval": (-1, -1, 0.5, "panoptic", 0.7, 0.2, 100, 133),
    "ovrcoat/ovrcoat_convnext_large_eval_ade20k": (0.4, 0.8, 0.5, "", 0.7, 0.0, 250, 133),
}


@pytest.mark.parametrize("name", FAMILY)
def test_values_of_the_successors_are_the_published_ones(name: str) -> None:
    cfg = family(name)
    node, mask_former = cfg.MODEL, cfg.MODEL.MASK_FORMER
    assert FAMILY[name] == (
        node.FC_CLIP.GEOMETRIC_ENSEMBLE_ALPHA,
        node.FC_CLIP.GEOMETRIC_ENSEMBLE_BETA,
        node.MASK_ADAPTER.MASK_THRESHOLD,
        node.MAFT_PLUS.TRANSFER_FORM,
        mask_former.TEST.OVERLAP_THRESHOLD,
        mask_former.TEST.OBJECT_MASK_THRESHOLD,
        mask_former.NUM_OBJECT_QUERIES,
        node.SEM_SEG_HEAD.NUM_CLASSES,
    )
    folder, adapted = name.partition("/")[0], name.startswith("mask_adapter")
    assert ("MASKAdapterHead" if adapted else "") == node.MASK_ADAPTER.NAME
    assert ((896, 896) if adapted else (800, 1333)) == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    if folder == "ovrcoat":
        assert node.META_ARCHITECTURE == "OVRCOAT"
    else:
        assert ("MAFT_Plus" if node.MAFT_PLUS.TRANSFER_FORM else "FCCLIP") == node.META_ARCHITECTURE
    assert (0.5 if folder == "ovrcoat" else 0.0) == node.OVRCOAT.CLIP_TRUST_WEIGHT


def test_keys_of_published_files_of_the_successors_merge(tmp_path: Path) -> None:
    """The keys that those files set and FC-CLIP's do not."""
    path = tmp_path / "published.yaml"
    model: dict[str, object] = {
        "META_ARCHITECTURE": "MAFT_Plus",
        "MASK_ADAPTER": {
            "NAME": "MASKAdapterHead",
            "MASK_IN_CHANNELS": 16,
            "NUM_CHANNELS": 768,
            "USE_CHECKPOINT": False,
        }
        | {"NUM_OUTPUT_MAPS": 16, "MASK_THRESHOLD": 0.45, "USE_CHECKPOINT": False, "TRAIN_MAFT": True},
        "BACKBONE": {"FREEZE": False},
        "OVRCOAT": {"CE_WEIGHT": 0.1, "DIST_WEIGHT": 0.0, "RC_WEIGHTS": 0.0, "CLIP_TRUST_WEIGHT": 0.5}
        | {"SEM_SEG_WEIGHTS": "fcclip_cocopan.pth"},
        "FC_CLIP": {"GEOMETRIC_ENSEMBLE_ALPHA": -1.0},
        "rc_weights": 0.1,
        "cdt_params": [640, 8],
    }
    solver = {"LR_SCHEDULER_NAME": "WarmupPolyLR", "POLY_LR_CONSTANT_ENDING": 0.0, "WEIGHT_DECAY_BIAS": None}
    train = {"LOSSES": ["oov_ce", "masks", "labels"], "USE_PRETRAINED_SEG_HEAD_WEIGHTS": False}
    path.write_text(yaml.safe_dump({"MODEL": model, "SOLVER": solver, "TRAIN": train}))
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(path)
    assert (cfg.MODEL.rc_weights, cfg.MODEL.cdt_params, cfg.TRAIN.LOSSES[0]) == (0.1, [640, 8], "oov_ce")


@pytest.mark.parametrize("name", ["a847", "pc59", "pc459", "pas20", "coco"])
def test_adapter_configs_differ_from_those_of_fcclip_in_the_same_values_for_every_set(name: str) -> None:
    plain, adapted = load(name), family(f"mask_adapter/fcclip_convnext_large_eval_{name}")
    assert adapted.DATASETS == plain.DATASETS
    assert adapted.MODEL.MASK_FORMER == plain.MODEL.MASK_FORMER
    assert (adapted.MODEL.MASK_ADAPTER.NAME, adapted.INPUT.MIN_SIZE_TEST) == ("MASKAdapterHead", 896)


def test_keys_are_added_as_in_published_scripts() -> None:
    cfg = detectron2_cfg()
    add_deeplab_config(cfg)
    fcclip.add_maskformer2_config(cfg)
    fcclip.add_fcclip_config(cfg)
    assert cfg.dump() == fcclip.get_cfg().dump()
    assert cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME == "convnext_large_d_320"
    assert not cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS


def test_every_key_has_a_line_of_meaning() -> None:
    """Each leaf that the project adds is explained where it is set, on its line or the one above."""
    lines = Path(fcclip.config.__file__).read_text().partition("def add_maskformer2_config")[2].splitlines()
    bare = [
        line.strip()
        for above, line in pairwise(lines)
        if line.startswith("    ") and (line.strip().startswith(("node.", "cfg.")) and " = " in line)
        and "#" not in line and not above.strip().startswith("#") and "CfgNode(" not in line
    ]  # fmt: skip
    allowed = ("node.TEST.SEMANTIC_ON", "node.TEST.INSTANCE_ON", "node.TEST.PANOPTIC_ON")
    assert [line for line in bare if not line.startswith(allowed)] == []


def test_a_wrong_key_is_named(tmp_path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text(yaml.safe_dump({"MODEL": {"FC_CLIP": {"EMBED_DIMS": 3}}}))
    with pytest.raises(KeyError, match="EMBED_DIMS"):
        fcclip.get_cfg().merge_from_file(str(path))


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_the_project_is_valid(path: Path) -> None:
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(path)
    if not path.stem.startswith(("Base", "maskformer2")):
        validate(cfg)


def test_choices_are_what_the_code_knows() -> None:
    assert set(CHOICES["INPUT.DATASET_MAPPER_NAME"]) == {*TRAIN_MAPPERS, "detectron2"}
    assert set(CHOICES["MODEL.MAFT_PLUS.TRANSFER_FORM"]) == {"", *FORMS}
    assert set(CHOICES["MODEL.SEM_SEG_HEAD.DEFORMABLE_ATTENTION"]) == set(BACKENDS)
    assert set(CHOICES["MODEL.ZERO_SHOT.ENCODER"]) == set(ENCODERS)
    assert set(CHOICES["MODEL.ZERO_SHOT.LEVEL_PROJECTION"]) == set(LEVEL_PROJECTIONS)
    assert set(CHOICES["MODEL.ZERO_SHOT.LOSS"]) == set(LOSSES)
    assert set(CHOICES["MODEL.ZERO_SHOT.SETTING"]) == set(SETTINGS)
    assert set(CHOICES["MODEL.ZERO_SHOT.TEMPLATES"]) == set(ZERO_SHOT_TEMPLATES)


@pytest.mark.parametrize("key", CHOICES)
def test_choices_are_refused_by_name(key: str) -> None:
    with pytest.raises(ValueError, match=f'{key} is "nope"; choose one of '):
        fcclip.get_cfg().merge_from_list([key, "nope"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.META_ARCHITECTURE", "Nope", 'META_ARCHITECTURE is "Nope"; choose one of .*FCCLIP.*ZegCLIP'),
        ("MODEL.BACKBONE.NAME", "nope", 'BACKBONE.NAME is "nope"; choose one of .*CLIP'),
        ("MODEL.SEM_SEG_HEAD.NAME", "nope", "choose one of .*FCCLIPHead"),
        ("MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME", "nope", "choose one of .*MSDeformAttnPixelDecoder"),
        ("MODEL.MASK_FORMER.NHEADS", 0, "NHEADS is 0; it must be at least 1"),
        ("MODEL.MASK_FORMER.NHEADS", -4, "at least 1"),
        ("MODEL.MASK_FORMER.NHEADS", 7, "is not a multiple of NHEADS, 7"),
        ("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", -1, "at least 1"),
        ("MODEL.MASK_ADAPTER.NAME", "nope", "choose one of .*MASKAdapterHead"),
        ("MODEL.OVRCOAT.CLIP_TRUST_WEIGHT", 2.0, "is 2.0; it must be from 0 to 1"),
        ("TRAIN.LOSSES", ["oov_ce", "boxes"], 'has "boxes"; choose from labels, masks and oov_ce'),
        ("MODEL.PIXEL_STD", [1, 1], "three numbers"),
        ("MODEL.PIXEL_STD", [1, 0, 1], "above 0"),
        ("MODEL.PIXEL_MEAN", [], "three numbers"),
        ("MODEL.SEM_SEG_HEAD.IN_FEATURES", [], "choose from res2"),
        ("MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res9"], "choose from res2"),
        ("MODEL.DEVICE", "gpu", 'MODEL.DEVICE is "gpu"; choose cpu, cuda'),
        ("SOLVER.IMS_PER_BATCH", 0, "at least 1"),
    ],
)
def test_values_that_no_model_can_be_built_with_are_refused(key: str, value: object, message: str) -> None:
    cfg = tiny_cfg()
    validate(cfg)
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=message):
        validate(cfg)


def test_a_model_that_is_asked_for_nothing_is_refused() -> None:
    cfg = tiny_cfg()
    cfg.merge_from_list(
        [item for task in ("SEMANTIC", "INSTANCE", "PANOPTIC") for item in (f"MODEL.MASK_FORMER.TEST.{task}_ON", False)]
    )
    with pytest.raises(ValueError, match="nothing is asked for"):
        validate(cfg)


def test_a_decoder_that_nobody_registered_is_named() -> None:
    with pytest.raises(ValueError, match=r'TRANSFORMER_DECODER_NAME is "nope"; choose one of MultiScaleMasked'):
        tiny_model(MODEL__MASK_FORMER__TRANSFORMER_DECODER_NAME="nope")
