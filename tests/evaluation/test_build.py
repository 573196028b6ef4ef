"""Which evaluators a dataset gets."""

from pathlib import Path

import pytest
from detectron2.evaluation import DatasetEvaluators

from fcclip.config import get_cfg
from fcclip.data.datasets.registry import REGISTERED
from fcclip.evaluation import build_evaluator, build_evaluators
from fcclip.evaluation.build import EVALUATORS
from tests.evaluation.catalog import Register
from tests.evaluation.instance_samples import coco_annotations, write_json
from tests.evaluation.panoptic_samples import synthetic
from tests.evaluation.world import World, make_world

CITY = ["road", "car"]


def kinds(world: World, panoptic: bool, semantic: bool, instance: bool) -> list[str]:
    cfg = world.cfg()
    node = cfg.MODEL.MASK_FORMER.TEST
    node.PANOPTIC_ON, node.SEMANTIC_ON, node.INSTANCE_ON = panoptic, semantic, instance
    return [type(evaluator).__name__ for evaluator in build_evaluators(cfg, world.name)]


@pytest.mark.parametrize(
    "evaluator_type", ["coco_panoptic_seg", "ade20k_panoptic_seg", "mapillary_vistas_panoptic_seg"]
)
def test_panoptic_datasets_follow_the_switches(register: Register, tmp_path: Path, evaluator_type: str):
    world = make_world(register, tmp_path, evaluator_type=evaluator_type)
    assert kinds(world, True, True, True) == ["PanopticEvaluator", "SemanticEvaluator", "InstanceSegEvaluator"]
    assert kinds(world, True, False, False) == ["PanopticEvaluator"]
    assert kinds(world, False, True, True) == ["SemanticEvaluator", "InstanceSegEvaluator"]
    with pytest.raises(ValueError, match="set one of PANOPTIC_ON"):
        kinds(world, False, False, False)


def test_cityscapes_gets_its_own(register: Register, tmp_path: Path):
    world = make_world(
        register,
        tmp_path,
        evaluator_type="cityscapes_panoptic_seg",
        gt_dir=str(tmp_path),
        stuff_classes=CITY,
        thing_classes=CITY,
        stuff_dataset_id_to_contiguous_id={7: 0},
        thing_dataset_id_to_contiguous_id={26: 1},
    )
    expected = ["PanopticEvaluator", "CityscapesSemSegEvaluator", "CityscapesInstanceEvaluator"]
    assert kinds(world, True, True, True) == expected


@pytest.mark.parametrize(
    ("evaluator_type", "expected"),
    [
        ("sem_seg", "SemanticEvaluator"),
        ("coco", "InstanceSegEvaluator"),
        ("cityscapes_sem_seg", "CityscapesSemSegEvaluator"),
        ("cityscapes_instance", "CityscapesInstanceEvaluator"),
    ],
)
def test_other_datasets_have_one_evaluator(register: Register, tmp_path: Path, evaluator_type: str, expected: str):
    name = register(
        [],
        evaluator_type=evaluator_type,
        ignore_label=255,
        stuff_classes=CITY,
        thing_classes=CITY,
        gt_dir=str(tmp_path),
        json_file=write_json(tmp_path / "instances.json", coco_annotations(synthetic(0))),
    )
    assert type(build_evaluator(get_cfg(), name)).__name__ == expected


def test_several_evaluators_work_in_detectron2s_loop(register: Register, tmp_path: Path):
    world = make_world(register, tmp_path)
    assert isinstance(build_evaluator(world.cfg(), world.name), DatasetEvaluators)


def test_errors(register: Register, tmp_path: Path):
    with pytest.raises(ValueError, match=r"has evaluator_type None; set it in its metadata to one of sem_seg"):
        build_evaluators(get_cfg(), register([]))
    world = make_world(register, tmp_path)
    with pytest.raises(ValueError, match=r"TEST.PANOPTIC_SCORER must be one of memory, panopticapi"):
        build_evaluators(world.cfg(PANOPTIC_SCORER="other"), world.name)


def test_project_datasets_have_evaluator_types():
    kinds_used = {
        spec.constants["evaluator_type"] for spec in REGISTERED.values() if "evaluator_type" in spec.constants
    }
    assert kinds_used
    assert kinds_used <= set(EVALUATORS)
