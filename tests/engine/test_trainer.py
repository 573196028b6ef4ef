"""The training loop: it learns, accumulates, resumes to the bit, and says what went wrong."""

import errno
import json
import logging
import os
import signal

import pytest
import torch
from detectron2.utils.env import seed_all_rng
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcclip.engine.best import BestCheckpoint
from fcclip.engine.dry_run import dry_run
from fcclip.engine.errors import Terminated
from fcclip.engine.trainer import Trainer
from fcclip.files.checkpoints import read_checkpoint
from tests.engine.runs import Recorder, fixed_points, train
from tests.engine.training import DATASET, training_cfg

TWO_IMAGES = r"\S+/images/\d\.jpg, \S+/images/\d\.jpg"


def final_weights(cfg):
    return read_checkpoint(f"{cfg.OUTPUT_DIR}/model_final.pth")["model"]


# The options that trade bits for speed, which must not cost the exact resume.
FASTER = {
    "MODEL__FC_CLIP__TRAINING_TOWER_DTYPE": "bfloat16",
    "MODEL__SEM_SEG_HEAD__ACTIVATION_CHECKPOINTING": True,
    "SOLVER__FUSED_ADAMW": True,
}


@pytest.mark.parametrize("options", [{}, FASTER], ids=["plain", "faster"])
def test_a_run_that_crashed_goes_on_as_if_it_had_not(tmp_path, options):
    settings = {"TEST__EVAL_PERIOD": 3, "DATALOADER__ASPECT_RATIO_GROUPING": True, **options}
    undisturbed = training_cfg(tmp_path / "a", **settings)
    expected = train(undisturbed)
    crashed = training_cfg(tmp_path / "b", **settings)
    first = train(crashed, crash_at=5)
    torch.manual_seed(99)
    second = train(crashed, resume=True)
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert sorted(second) == [3, 4, 5, 6, 7], "on from the checkpoint after iteration 2"
    assert {**first, **second} == expected
    assert {iteration: second[iteration] for iteration in (3, 4)} == {i: first[i] for i in (3, 4)}
    for name, weight in final_weights(undisturbed).items():
        assert torch.equal(final_weights(crashed)[name], weight), name


def test_a_seed_gives_the_same_weights_and_scores_whatever_the_workers(tmp_path):
    def run(name, seed, workers):
        settings = {"SOLVER__MAX_ITER": 3, "TEST__EVAL_PERIOD": 3, "DATALOADER__NUM_WORKERS": workers, "SEED": seed}
        cfg = training_cfg(tmp_path / name, **settings)
        train(cfg)
        results = json.loads((tmp_path / name / "output" / "inference" / DATASET / "results.json").read_text())
        return final_weights(cfg), results["results"]

    weights, scores = run("once", 7, 0)
    for name, workers in (("again", 0), ("with workers", 2)):
        others, other_scores = run(name, 7, workers)
        assert all(torch.equal(weight, others[key]) for key, weight in weights.items()), name
        assert other_scores == scores, name
    others, _ = run("another", 8, 0)
    assert not all(torch.equal(weight, others[key]) for key, weight in weights.items())


def test_a_run_that_died_between_its_last_two_files_is_finished(tmp_path):
    cfg = training_cfg(tmp_path, SOLVER__MAX_ITER=3, TEST__EVAL_PERIOD=3)
    train(cfg)
    output = tmp_path / "output"
    expected, metrics = final_weights(cfg), read_metrics(output)
    (output / "model_final.pth").unlink()
    (output / "last_checkpoint").write_text("model_0000002.pth")
    assert train(cfg, resume=True) == {}, "no iteration is left"
    assert all(torch.equal(weight, expected[name]) for name, weight in final_weights(cfg).items())
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    assert read_checkpoint(str(output / "model_final.pth"))["iteration"] == 2
    assert [line["iteration"] for line in read_metrics(output)] == [line["iteration"] for line in metrics]
    before = (output / "model_final.pth").stat().st_mtime_ns
    assert train(cfg, resume=True) == {}
    assert (output / "model_final.pth").stat().st_mtime_ns == before


def test_an_evaluation_that_a_run_died_in_is_done_when_it_goes_on(tmp_path, monkeypatch):
    settings = {"SOLVER__MAX_ITER": 5, "SOLVER__STEPS": (4,), "TEST__EVAL_PERIOD": 3}
    settings["SOLVER__BEST_CHECKPOINT__METRIC"] = "panoptic_seg/PQ"
    undisturbed, killed = (training_cfg(tmp_path / name, **settings) for name in ("a", "b"))
    train(undisturbed)
    test, tested = Trainer.test, []

    def die(*arguments, **more):
        raise KeyboardInterrupt

    def note(cfg, model, origin, show=None):
        tested.append(origin.iteration)
        return test(cfg, model, origin, show)

    monkeypatch.setattr(Trainer, "test", die)
    train(killed, crash_at=5)
    monkeypatch.setattr(Trainer, "test", staticmethod(note))
    assert sorted(train(killed, resume=True)) == [3, 4]
    assert tested == [3, 5]
    outputs = [tmp_path / name / "output" for name in ("a", "b")]
    expected, found = ({line["iteration"]: line.get("panoptic_seg/PQ") for line in read_metrics(o)} for o in outputs)
    assert {key: value for key, value in found.items() if value is not None} == {
        key: value for key, value in expected.items() if value is not None
    }
    assert {2, 5} <= found.keys()
    best = [read_checkpoint(output / "model_best.pth")["best"] for output in outputs]
    assert best[0] == best[1]
    (outputs[1] / "last_checkpoint").write_text("model_0000002.pth")
    results = outputs[1] / "inference" / DATASET / "results.json"
    results.write_text(results.read_text().replace('"iteration": 5', '"iteration": 3'))
    tested.clear()
    train(killed, resume=True)
    assert tested == [5], "what was finished is not repeated"


def test_an_evaluation_that_a_run_died_after_is_repeated_if_nothing_tells_its_results(tmp_path, monkeypatch):
    settings = {"SOLVER__MAX_ITER": 5, "SOLVER__STEPS": (4,), "TEST__EVAL_PERIOD": 3}
    cfg = training_cfg(tmp_path, **settings, SOLVER__BEST_CHECKPOINT__METRIC="panoptic_seg/PQ")
    best = tmp_path / "output" / "model_best.pth"
    update = BestCheckpoint.update

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(BestCheckpoint, "update", die)
    train(cfg, crash_at=5)
    assert (best.parent / "inference" / DATASET / "results.json").is_file()
    seen = []
    monkeypatch.setattr(BestCheckpoint, "update", lambda *given: (seen.append(given[-1]), update(*given)))
    train(cfg, resume=True)
    assert seen == [3, 5], "also the weights after three iterations may be the best"
    lines = [line for line in read_metrics(best.parent) if "panoptic_seg/PQ" in line]
    assert [line["iteration"] for line in lines] == [2, 5]


def read_metrics(output):
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


def test_resume_without_a_checkpoint_begins(tmp_path):
    assert sorted(train(training_cfg(tmp_path, SOLVER__MAX_ITER=2), resume=True)) == [0, 1]


def test_a_checkpoint_that_only_some_machines_see_is_refused(tmp_path, monkeypatch):
    trainer = Trainer(training_cfg(tmp_path))
    monkeypatch.setattr("fcclip.engine.trainer.comm.all_gather", lambda seen: [seen, not seen])
    with pytest.raises(RuntimeError, match="must be on a disk that all machines share"):
        trainer.resume_or_load(resume=True)


def test_it_learns_and_reports(tmp_path, caplog):
    cfg = training_cfg(tmp_path, SOLVER__MAX_ITER=60, SOLVER__STEPS=(50,), SOLVER__CHECKPOINT_PERIOD=100)
    with caplog.at_level(logging.INFO, logger="fcclip"):
        losses = train(cfg)
    mean = {half: sum(losses[i]["total_loss"] for i in half) / len(half) for half in (range(10), range(50, 60))}
    assert mean[range(50, 60)] < 0.9 * mean[range(10)]
    (line,) = [record.message for record in caplog.records if record.message.startswith("iter: 60/60")]
    for part in ("total_loss:", "loss_ce:", "loss_mask:", "loss_dice:", "lr:", "data_time:", "images/s:", "eta:", "MB"):
        assert part in line
    assert "loss_ce_0" not in line
    metrics = [json.loads(line) for line in (tmp_path / "output" / "metrics.json").read_text().splitlines()]
    written = {name for line in metrics for name in line}
    assert {"total_loss", "loss_ce_0", "gradient_norm", "lr", "data_time", "panoptic_seg/PQ"} <= written
    assert list((tmp_path / "output").glob("events.out.tfevents*"))


def test_accumulated_steps_equal_one_large_step(tmp_path, monkeypatch):
    """With the same points for every image the losses of two halves average to those of the whole."""
    even = {"DATALOADER__ASPECT_RATIO_GROUPING": False, "SOLVER__OPTIMIZER": "SGD", "SOLVER__MAX_ITER": 3}
    even["INPUT__IMAGE_SIZE"] = 64
    monkeypatch.setattr(torch, "rand", fixed_points)
    sizes = [(48, 64)] * 4
    whole = train(training_cfg(tmp_path / "a", sizes=sizes, **even))
    halves = train(training_cfg(tmp_path / "b", sizes=sizes, **even, SOLVER__ACCUMULATION_STEPS=2))
    for iteration, losses in whole.items():
        assert halves[iteration] == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["ADAMW", "SGD"])
def test_bfloat16_trains_on_the_cpu(tmp_path, optimizer):
    settings = {"SOLVER__AMP__ENABLED": True, "SOLVER__AMP__DTYPE": "bfloat16", "SOLVER__MAX_ITER": 2}
    losses = train(training_cfg(tmp_path, SOLVER__OPTIMIZER=optimizer, **settings))
    assert all(value > 0 for value in losses[1].values())


def test_a_nan_loss_names_iteration_and_loss_and_saves_nothing(tmp_path):
    class Diverging(Trainer):
        def _backward(self, batch, steps):
            losses = super()._backward(batch, steps)
            return {**losses, "loss_dice_0": losses["loss_dice_0"] * float("nan")} if self.iter == 5 else losses

    cfg = training_cfg(tmp_path)
    trainer = Diverging(cfg)
    with pytest.raises(
        FloatingPointError,
        match=rf"iteration 5, images {TWO_IMAGES}: loss_dice_0 became NaN",
    ):
        trainer.train()
    assert sorted(path.name for path in (tmp_path / "output").glob("*.pth")) == ["model_0000002.pth"]
    assert (tmp_path / "output" / "last_checkpoint").read_text() == "model_0000002.pth"


def test_predictions_that_are_not_finite_name_the_iteration(tmp_path):
    trainer = Trainer(training_cfg(tmp_path))
    trainer.model.void_embedding.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=rf"iteration 0, images {TWO_IMAGES}: the predictions"):
        trainer.train()


def test_a_full_disk_names_the_iteration(tmp_path, monkeypatch):
    def write(writer):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("detectron2.utils.events.JSONWriter.write", write)
    with pytest.raises(RuntimeError, match="is full at iteration 1; make room and go on with --resume"):
        Trainer(training_cfg(tmp_path)).train()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_missing_image_is_named(tmp_path, num_workers):
    cfg = training_cfg(tmp_path, DATALOADER__NUM_WORKERS=num_workers)
    (tmp_path / "data" / "images" / "3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"images/3\.jpg does not exist"):
        Trainer(cfg).train()


def test_the_number_of_classes_is_checked(tmp_path):
    with pytest.raises(ValueError, match="NUM_CLASSES is 133, but the training vocabulary has 3"):
        Trainer(training_cfg(tmp_path, MODEL__SEM_SEG_HEAD__NUM_CLASSES=133)).train()


def test_the_best_weights_are_kept(tmp_path):
    settings = {"SOLVER__BEST_CHECKPOINT__METRIC": "panoptic_seg/PQ", "TEST__EVAL_PERIOD": 2, "SOLVER__MAX_ITER": 4}
    cfg = training_cfg(tmp_path, **settings)
    train(cfg)
    best = read_checkpoint(tmp_path / "output" / "model_best.pth")["best"]
    assert (best["metric"], best["dataset"]) == ("panoptic_seg/PQ", DATASET)
    assert best["iteration"] in (2, 4)


def test_a_dry_run_tries_everything_and_writes_nothing(tmp_path, caplog):
    cfg = training_cfg(tmp_path)
    with caplog.at_level(logging.INFO, logger="fcclip"):
        dry_run(cfg)
    text = caplog.text
    assert "number of images         5           0" in text
    assert "one step of 2 images: total loss" in text
    assert "0.jpg segmented in" in text
    assert "dry run finished: nothing is wrong" in text
    assert not (tmp_path / "output").exists()


def test_a_dry_run_finds_missing_files(tmp_path):
    cfg = training_cfg(tmp_path)
    (tmp_path / "data" / "images" / "3.jpg").unlink()
    (tmp_path / "data" / "panoptic" / "4.png").unlink()
    with pytest.raises(FileNotFoundError, match=r'"made_panoptic": .*3\.jpg does not exist \(and 1 more problems\)'):
        dry_run(cfg)


def test_a_gradient_that_is_not_finite_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("fcclip.engine.trainer.clip_gradients", lambda *_: torch.tensor(float("inf")))
    trainer = Trainer(training_cfg(tmp_path))
    with pytest.raises(FloatingPointError, match=rf"iteration 0, images {TWO_IMAGES}: the gradient became NaN"):
        trainer.train()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_training_that_is_told_to_stop_saves_the_iteration_and_goes_on(tmp_path, number, error):
    expected = train(training_cfg(tmp_path / "undisturbed", DATASETS__TEST=()))

    class Stopped(Recorder):
        def before_step(self):
            if self.trainer.iter == 3:
                os.kill(os.getpid(), number)

    cfg = training_cfg(tmp_path / "stopped", DATASETS__TEST=())
    before = signal.getsignal(number)
    seed_all_rng(cfg.SEED)
    trainer = Trainer(cfg)
    trainer.register_hooks([Stopped()])
    with pytest.raises(error, match="iteration 3 is saved in .*model_0000003.pth; go on with --resume"):
        trainer.train()
    assert signal.getsignal(number) == before
    assert train(cfg, resume=True) == {iteration: expected[iteration] for iteration in range(4, 8)}
    lines = [json.loads(line) for line in (tmp_path / "stopped" / "output" / "metrics.json").read_text().splitlines()]
    iterations = [line["iteration"] for line in lines]
    assert iterations == sorted(set(iterations))


def test_tensorboard_has_pictures_of_the_first_test_images(tmp_path):
    cfg = training_cfg(tmp_path, SOLVER__MAX_ITER=1)
    train(cfg)
    events = EventAccumulator(cfg.OUTPUT_DIR).Reload()
    assert events.Tags()["images"] == [f"{DATASET}/{index}" for index in range(4)]
    (picture,) = events.Images(f"{DATASET}/0")
    assert (picture.height, picture.width) == (48, 3 * 64 + 12)
