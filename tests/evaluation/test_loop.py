"""The evaluation loop: results, resuming, several datasets, several processes, reports."""

import csv
import hashlib
import json
import math
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm

from fcclip.data.mappers import InferenceMapper
from fcclip.engine.distributed import launch
from fcclip.evaluation import build_evaluator, evaluate, evaluate_test_sets, inference_folder
from fcclip.evaluation.files import score_label_folders, score_panoptic_files
from fcclip.evaluation.instance_files import score_instance_files
from fcclip.evaluation.metrics.semantic import semantic_metrics
from fcclip.evaluation.origin import Origin
from tests.evaluation.catalog import Register
from tests.evaluation.world import Oracle, World, make_world
from tests.ports import free_port


@pytest.fixture
def world(register: Register, tmp_path: Path) -> World:
    return make_world(register, tmp_path)


def assert_equal(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for task, values in first.items():
        assert values == pytest.approx(second[task], nan_ok=True)


def test_equals_detectron2s_own_loop(world: World):
    cfg, model = world.cfg(), Oracle(world)
    ours = evaluate(model, cfg, world.name)
    assert set(ours) == {"panoptic_seg", "sem_seg", "segm", "bbox"}
    assert 0 < ours["panoptic_seg"]["PQ"] < 100
    records = DatasetCatalog.get(world.name)
    loader = build_detection_test_loader(dataset=records, mapper=InferenceMapper(cfg), num_workers=0)
    theirs = inference_on_dataset(model, loader, build_evaluator(cfg, world.name))
    assert_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["labels", "panoptic", "instances", "images"])
def test_a_corrected_ground_truth_or_picture_starts_anew(world: World, kind: str, caplog: pytest.LogCaptureFixture):
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=3), world.cfg(), world.name)
    path = world.folder / "instances.json" if kind == "instances" else next((world.folder / kind).glob("*2.png"))
    path.write_bytes(path.read_bytes())  # the same size, at another time
    os.utime(path, (1, 1))
    model = Oracle(world)
    evaluate(model, world.cfg(), world.name)
    assert len(model.seen) == 5
    assert "3 images that were measured with other weights, settings, pictures or ground truth" in caplog.text


@pytest.mark.parametrize("line", ["7", "[]", "null", '{"image": 3}', '{"statistics": {}}', "\\xff"])
def test_a_journal_that_was_damaged_is_done_again(world: World, line: str):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=3), world.cfg(), world.name)
    journal = inference_folder(world.cfg(), world.name) / "unfinished" / "rank0.jsonl"
    with journal.open("ab") as file:
        file.write(line.encode().decode("unicode_escape").encode("latin-1") + b"\n")
    model = Oracle(world)
    assert_equal(evaluate(model, world.cfg(), world.name), expected)
    assert model.seen == [4, 5]
    journal.parent.mkdir()
    journal.write_text(line)
    assert_equal(evaluate(Oracle(world), world.cfg(), world.name), expected)


def test_results_say_what_they_are_of(world: World, tmp_path: Path):
    weights = tmp_path / "model.pth"
    weights.write_bytes(b"weights")
    evaluate(Oracle(world), world.cfg(), world.name, origin=Origin.of_file(weights, 12))
    folder = inference_folder(world.cfg(), world.name)
    run = json.loads((folder / "results.json").read_text())["run"]
    digest = hashlib.sha256(b"weights").hexdigest()
    assert run["checkpoint"] == {"file": str(weights), "sha256": digest}
    assert run["iteration"] == 12
    assert run["vocabulary"] == [f"class{k},class{k}s" for k in range(6)]
    assert run["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert datetime.now(timezone.utc) - datetime.fromisoformat(run["date"]) < timedelta(minutes=10)
    assert run["configuration"] == world.cfg().dump()
    markdown = (folder / "results.md").read_text()
    assert f"Weights: `{weights}` (SHA-256 {digest[:12]}), after 12 iterations" in markdown
    assert re.search(r"\| class0 +\| ", markdown)


def test_confusion_matrix_as_numbers(world: World):
    results = evaluate(Oracle(world), world.cfg(), world.name)
    rows = list(csv.reader((inference_folder(world.cfg(), world.name) / "confusion.csv").open()))
    assert rows[0] == ["predicted / true", *(f"class{k}" for k in range(6))]
    assert [row[0] for row in rows[1:]] == [*(f"class{k}" for k in range(6)), "(none)"]
    confusion = np.array([row[1:] for row in rows[1:]], dtype=int)
    assert semantic_metrics(confusion)["mIoU"] == pytest.approx(results["sem_seg"]["mIoU"])


def test_predictions_of_all_kinds_can_be_scored_again(world: World, tmp_path: Path):
    cfg = world.cfg(PANOPTIC_EXPORT=True, SEMANTIC_EXPORT=True, INSTANCE_EXPORT=True)
    results = evaluate(Oracle(world), cfg, world.name)
    folder, panoptic = inference_folder(cfg, world.name), world.folder / "panoptic"
    truth = Path(MetadataCatalog.get(world.name).panoptic_json)
    again = score_panoptic_files(truth, panoptic, folder / "panoptic_predictions.json", folder / "panoptic_predictions")
    assert again["All"]["PQ"] == pytest.approx(results["panoptic_seg"]["PQ"])
    names = [f"class{k}" for k in range(6)]
    again = score_label_folders(world.folder / "labels", folder / "semantic_predictions", names, 255)
    assert again["All"]["mIoU"] == pytest.approx(results["sem_seg"]["mIoU"])
    again = score_instance_files(world.folder / "instances.json", folder / "instance_predictions.json")
    for task in ("segm", "bbox"):
        for metric, value in again[task].items():
            assert (math.nan if value is None else value) == pytest.approx(results[task][metric], nan_ok=True)


def test_the_first_images_are_shown(world: World):
    shown: dict[str, np.ndarray] = {}
    evaluate(Oracle(world), world.cfg(), world.name, show=shown.__setitem__)
    assert list(shown) == [f"{world.name}/{k}" for k in (1, 2, 3, 4)]
    height, width, channels = shown[f"{world.name}/1"].shape
    assert (height, channels) == (40, 3)
    assert width == 3 * world.truth.pictures[0].ids.shape[1] + 12
    assert shown[f"{world.name}/1"].dtype == np.uint8


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(world: World):
    model = Oracle(world)
    (world.folder / "file").write_text("")
    with pytest.raises(ValueError, match="nothing can be written to the folder"):
        evaluate(model, world.cfg(), world.name, world.folder / "file" / "results")
    assert model.seen == []


def test_model_is_left_as_it_was(world: World):
    model = Oracle(world).train()
    evaluate(model, world.cfg(), world.name)
    assert model.training
    assert model.gives_labels is False
    assert model.vocabularies == [world.name]


def test_interrupted_evaluation_goes_on(world: World):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=3), world.cfg(), world.name)
    model = Oracle(world)
    assert_equal(evaluate(model, world.cfg(), world.name), expected)
    assert model.seen == [4, 5]
    assert not (inference_folder(world.cfg(), world.name) / "unfinished").exists()
    again = Oracle(world)
    evaluate(again, world.cfg(), world.name)
    assert len(again.seen) == 5  # a finished evaluation is not remembered


def test_line_that_was_cut_short_is_done_again(world: World):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=3), world.cfg(), world.name)
    journal = inference_folder(world.cfg(), world.name) / "unfinished" / "rank0.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=1), world.cfg(), world.name)
    model = Oracle(world)
    assert_equal(evaluate(model, world.cfg(), world.name), expected)
    assert model.seen == [4, 5]


def test_other_weights_settings_or_wishes_start_anew(world: World):
    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            evaluate(Oracle(world, fail_at=3), world.cfg(), world.name)

    interrupted()
    other_weights = Oracle(world)
    torch.nn.init.zeros_(other_weights.weight)
    evaluate(other_weights, world.cfg(), world.name)
    assert len(other_weights.seen) == 5
    interrupted()
    other_size, cfg = Oracle(world), world.cfg()
    cfg.INPUT.MIN_SIZE_TEST = 48
    evaluate(other_size, cfg, world.name)
    assert len(other_size.seen) == 5
    interrupted()
    fresh = Oracle(world)
    evaluate(fresh, world.cfg(RESUME=False), world.name)
    assert len(fresh.seen) == 5


def test_all_images_finished_but_no_results_yet(world: World, monkeypatch: pytest.MonkeyPatch):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    with monkeypatch.context() as patch:
        patch.setattr(
            "fcclip.evaluation.report.tables.Report.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            evaluate(Oracle(world), world.cfg(), world.name)
    model = Oracle(world)
    assert_equal(evaluate(model, world.cfg(), world.name), expected)
    assert model.seen == []


def test_each_dataset_has_its_own_vocabulary_and_folder(register: Register, tmp_path: Path):
    first, second = make_world(register, tmp_path / "a"), make_world(register, tmp_path / "b", images=2)
    cfg, model = first.cfg(), Oracle(first, second)
    cfg.DATASETS.TEST = (first.name, second.name)
    results = evaluate_test_sets(cfg, model)
    assert model.vocabularies == [first.name, second.name]
    assert model.seen == [1, 2, 3, 4, 5, 1, 2]
    for world in (first, second):
        assert_equal(results[world.name], evaluate(Oracle(world), world.cfg(), world.name))
        assert (inference_folder(cfg, world.name) / "results.json").is_file()


def test_unseen_classes_of_the_metadata_or_the_caller(register: Register, tmp_path: Path):
    world = make_world(register, tmp_path, unseen_classes=[1])
    results = evaluate(Oracle(world), world.cfg(), world.name)
    assert {"PQ_seen", "PQ_unseen"} <= results["panoptic_seg"].keys()
    assert {"mIoU_seen", "mIoU_unseen", "hIoU"} <= results["sem_seg"].keys()
    other = evaluate(Oracle(world), world.cfg(), world.name, unseen=[0, 2])
    assert other["sem_seg"]["mIoU_unseen"] != results["sem_seg"]["mIoU_unseen"]


def test_reports(world: World, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", logger="fcclip"):
        results = evaluate(Oracle(world), world.cfg(), world.name)
    assert "Panoptic\n" in caplog.text
    folder = inference_folder(world.cfg(), world.name)
    content = json.loads((folder / "results.json").read_text())
    assert content["images"] == 5
    assert content["results"]["panoptic_seg"]["PQ"] == results["panoptic_seg"]["PQ"]
    assert next(iter(content["results"]["sem_seg"])) == "mIoU"
    assert list(content["conventions"])[:2] == ["mIoU", "mIoU_absent_as_zero"]
    assert {"pure", "total", "first", "processes"} == content["seconds_per_image"].keys()
    markdown = (folder / "results.md").read_text()
    assert "are left out (Detectron2 after v0.6" in markdown
    assert f"| {results['sem_seg']['mIoU']:.3f} |" in markdown
    rows = list(csv.DictReader((folder / "per_class.csv").open()))
    assert [row["class"] for row in rows] == [f"class{k}" for k in range(6)]
    assert float(rows[0]["panoptic_seg.PQ"]) == pytest.approx(results["panoptic_seg"]["PQ-class0"], abs=1e-6)
    assert rows[5]["sem_seg.IoU"] == ""  # never in the ground truth
    assert content["per_class"]["class5"]["sem_seg.IoU"] is None


def _evaluate_in_process(folder: str) -> None:
    torch.set_num_threads(1)
    rank = comm.get_rank()

    def register(records: list, **metadata: object) -> str:
        DatasetCatalog.register("shared", lambda: records)
        MetadataCatalog.get("shared").set(**metadata)
        return "shared"

    world = make_world(register, Path(folder) / f"world{rank}")
    cfg = world.cfg(PLOTS=True, WORST_IMAGES=2)
    # Both processes see the same files, as on one machine.
    records = DatasetCatalog.get("shared")
    for record in records:
        record["file_name"] = record["file_name"].replace(f"world{rank}", "world0")
    comm.synchronize()
    cfg.OUTPUT_DIR = str(Path(folder) / "output")
    results = evaluate(Oracle(world), cfg, "shared")
    (Path(folder) / f"results{rank}.json").write_text(json.dumps(results))


def test_two_processes_give_the_results_of_one(world: World, tmp_path: Path):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    url = f"tcp://127.0.0.1:{free_port()}"
    launch(_evaluate_in_process, (str(tmp_path / "two"),), "cpu", num_gpus=2, dist_url=url)
    assert json.loads((tmp_path / "two" / "results1.json").read_text()) == {}
    assert_equal(json.loads((tmp_path / "two" / "results0.json").read_text()), expected)
    folder = tmp_path / "two" / "output" / "inference" / "shared"
    assert json.loads((folder / "results.json").read_text())["seconds_per_image"]["processes"] == 2
    assert (folder / "worst_images.html").read_text().count("<section>") == 2
    assert not (folder / "unfinished").exists()


def test_worst_images_survive_an_interruption(world: World):
    cfg = world.cfg(PLOTS=True, WORST_IMAGES=5)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(world, fail_at=3), cfg, world.name)
    evaluate(Oracle(world), cfg, world.name)
    page = (inference_folder(cfg, world.name) / "worst_images.html").read_text()
    assert page.count("<section>") == 5
    scores = [float(part.split(" ")[0]) for part in page.split(". score ")[1:]]
    assert scores == sorted(scores)
    assert np.isfinite(scores).all()


def test_with_test_time_augmentation(world: World):
    cfg = world.cfg()
    cfg.TEST.AUG.MIN_SIZES = (16, 32)
    plain = evaluate(Oracle(world), cfg, world.name)
    augmented = evaluate_test_sets(cfg, Oracle(world), with_tta=True)
    assert_equal({task: augmented.pop(task) for task in plain}, plain)
    # This model says the same of every view but the mirrored ones, so that only shapes and kinds can be compared.
    assert set(augmented) == {f"{task}_TTA" for task in plain}
    assert augmented["segm_TTA"] == pytest.approx(plain["segm"], nan_ok=True)
    assert (Path(cfg.OUTPUT_DIR) / "inference_TTA" / world.name / "results.json").is_file()
    cfg.TEST.AUG.FLIP = False
    unmirrored = evaluate_test_sets(cfg, Oracle(world), with_tta=True)
    assert unmirrored["sem_seg_TTA"] == pytest.approx(plain["sem_seg"], nan_ok=True)
