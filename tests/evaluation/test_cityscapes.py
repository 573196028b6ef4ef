"""Cityscapes' metrics against numbers that the official scripts (cityscapesscripts 2.3) gave for the same files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog

from fcclip.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator, label_ids
from fcclip.evaluation.metrics.cityscapes_ap import average_precisions, match_image
from fcclip.evaluation.metrics.cityscapes_labels import EVALUATED
from fcclip.files.images import LabelMapError
from tests.evaluation.catalog import Register
from tests.evaluation.cityscapes_samples import CLASS_STRINGS, SIZE, Street, write_streets

INSTANCE_REFERENCE = {
    "AP": 11.9017504735,
    "AP50": 27.3951868267,
    "AP-person": 20.6460749898,
    "AP-rider": 16.5827134153,
    "AP-car": 1.2932599808,
    "AP-truck": 9.084953508,
    "AP-bus": np.nan,
}
SEMANTIC_REFERENCE = {"IoU": 35.234723007, "iIoU": 44.2989632933, "IoU_sup": 40.0387082019, "iIoU_sup": 81.7833849532}


@pytest.fixture
def city(register: Register, tmp_path: Path) -> tuple[str, list[Street]]:
    streets = write_streets(tmp_path)
    name = register([], gt_dir=str(tmp_path / "gt"), thing_classes=CLASS_STRINGS, stuff_classes=CLASS_STRINGS)
    return name, streets


def test_instance_ap_equals_the_official_script(city):
    name, streets = city
    evaluator = CityscapesInstanceEvaluator(name)
    evaluator.process([street.record for street in streets], [{"instances": street.instances} for street in streets])
    values = evaluator.evaluate()["segm"]
    assert {key: values[key] for key in INSTANCE_REFERENCE} == pytest.approx(INSTANCE_REFERENCE, abs=1e-9, nan_ok=True)


def test_semantic_scores_equal_the_official_script(city):
    name, streets = city
    evaluator = CityscapesSemSegEvaluator(name)
    evaluator.process([street.record for street in streets], [{"sem_seg": street.sem_seg} for street in streets])
    values = evaluator.evaluate()["sem_seg"]
    assert {key: values[key] for key in SEMANTIC_REFERENCE} == pytest.approx(SEMANTIC_REFERENCE, abs=1e-9)


@pytest.mark.parametrize("evaluator_class", [CityscapesInstanceEvaluator, CityscapesSemSegEvaluator])
def test_stored_and_merged_parts_equal_the_whole(city, evaluator_class):
    name, streets = city
    whole, first, second = (evaluator_class(name) for _ in range(3))
    for index, street in enumerate(streets):
        output = {"instances": street.instances, "sem_seg": street.sem_seg}
        statistics = whole.measure(street.record, output)
        whole.add(statistics)
        (first if index % 2 else second).add(json.loads(json.dumps(statistics)))
    first.merge(second.state())
    for task, values in whole.results().items():
        assert first.results()[task] == pytest.approx(values, nan_ok=True)


def test_ground_truth_against_itself_is_perfect():
    ids = np.full(SIZE, 7, np.int32)
    ids[5:20, 5:20], ids[30:50, 40:70] = 26001, 26002
    masks = [ids == 26001, ids == 26002]
    precisions = average_precisions([match_image(ids, masks, [26, 26], [0.9, 0.8])])
    assert precisions[2].tolist() == [1.0] * 10
    assert np.isnan(precisions[[0, 1, 3, 4, 5, 6, 7]]).all()


def test_detections_on_groups_are_left_out():
    ids = np.full(SIZE, 7, np.int32)
    ids[5:20, 5:20], ids[30:50, 40:70] = 26001, 26  # a car, and a row of cars
    masks = [ids == 26001, ids == 26]
    assert average_precisions([match_image(ids, masks, [26, 26], [0.5, 0.9])])[2, 0] == 1.0
    on_road = np.zeros(SIZE, bool)
    on_road[50:60, 80:90] = True
    assert average_precisions([match_image(ids, [masks[0], on_road], [26, 26], [0.5, 0.9])])[2, 0] < 1.0


def test_classes_are_known_by_any_synonym_or_by_the_dataset_ids(register: Register):
    names = MetadataCatalog.get(register([], thing_classes=["automobile,car", "Bicycle"]))
    assert label_ids(names, names.thing_classes) == [26, 33]
    ids = MetadataCatalog.get(register([], stuff_dataset_id_to_contiguous_id={33: 0, 26: 1}))
    assert label_ids(ids, ["bike", "automobile"]) == [33, 26]
    with pytest.raises(ValueError, match=r'class "ship,boat" of .* is none of Cityscapes'):
        label_ids(names, ["automobile,car", "bicycle", "ship,boat"])


def test_project_metadata_maps_all_classes():
    metadata = MetadataCatalog.get("openvocab_cityscapes_fine_panoptic_val")
    expected = [label.id for label in EVALUATED]
    assert label_ids(metadata, metadata.stuff_classes) == expected
    assert label_ids(metadata, metadata.thing_classes) == expected


def test_errors(city):
    name, (street, *_) = city
    semantic, instance = CityscapesSemSegEvaluator(name), CityscapesInstanceEvaluator(name)
    with pytest.raises(FileNotFoundError, match=r"instanceIds\.png"):
        semantic.measure({"file_name": "images/ulm/ulm_9_9_leftImg8bit.png"}, {"sem_seg": street.sem_seg})
    with pytest.raises(LabelMapError, match="the prediction has"):
        semantic.measure(street.record, {"sem_seg": street.sem_seg[1:]})
    with pytest.raises(LabelMapError, match=r"predicted labels span \[19, 19\], but there are 19 classes"):
        semantic.measure(street.record, {"sem_seg": torch.full(SIZE, 19)})
    cropped = street.instances
    cropped.pred_masks = cropped.pred_masks[:, 1:]
    with pytest.raises(ValueError, match="a mask has"):
        instance.measure(street.record, {"instances": cropped})
