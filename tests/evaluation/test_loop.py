"""The evaluation loop: results, resuming, several datasets, several processes, reports."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import inference_on_dataset

from fcclip.data.mappers import InferenceMapper
from fcclip.evaluation import build_evaluator, evaluate, evaluate_test_sets, inference_folder
from tests.evaluation.catalog import Register
from tests.evaluation.world import Oracle, World, make_world


@pytest.fixture
def world(register: Register, tmp_path: Path) -> World:
    return make_world(register, tmp_path)


def assert_equal(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for task in first:
        assert first[task] == pytest.approx(second[task], nan_ok=True)


def test_equals_detectron2s_own_loop(world: World):
    cfg, model = world.cfg(), Oracle(world)
    ours = evaluate(model, cfg, world.name)
    assert set(ours) == {"panoptic_seg", "sem_seg", "segm", "bbox"}
    assert 0 < ours["panoptic_seg"]["PQ"] < 100
    records = DatasetCatalog.get(world.name)
    loader = build_detection_test_loader(dataset=records, mapper=InferenceMapper(cfg), num_workers=0)
    theirs = inference_on_dataset(model, loader, build_evaluator(cfg, world.name))
    assert_equal(ours, theirs)


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


def _evaluate_in_process(rank: int, folder: str, port: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)

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
    torch.distributed.barrier()
    cfg.OUTPUT_DIR = str(Path(folder) / "output")
    results = evaluate(Oracle(world), cfg, "shared")
    (Path(folder) / f"results{rank}.json").write_text(json.dumps(results))


def test_two_processes_give_the_results_of_one(world: World, tmp_path: Path):
    expected = evaluate(Oracle(world), world.cfg(), world.name)
    mp.spawn(_evaluate_in_process, (str(tmp_path / "two"), _free_port()), nprocs=2)
    assert json.loads((tmp_path / "two" / "results1.json").read_text()) == {}
    assert_equal(json.loads((tmp_path / "two" / "results0.json").read_text()), expected)
    folder = tmp_path / "two" / "output" / "inference" / "shared"
    assert json.loads((folder / "results.json").read_text())["seconds_per_image"]["processes"] == 2
    assert (folder / "worst_images.html").read_text().count("<section>") == 2
    assert not (folder / "unfinished").exists()


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


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
