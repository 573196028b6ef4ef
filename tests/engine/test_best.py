"""model_best.pth: by one metric on one test set."""

import logging

import pytest

from fcclip.config import get_cfg
from fcclip.engine.best import BestCheckpoint


class Recorder:
    """Stands for the checkpointer: notes what would be written."""

    def __init__(self, save_dir="."):
        self.save_dir = str(save_dir)
        self.saved = []

    def save_weights(self, name, best):
        self.saved.append((name, best))


def make_cfg(datasets=("a",), metric="panoptic_seg/PQ", dataset="", mode="max"):
    cfg = get_cfg()
    cfg.DATASETS.TEST = datasets
    node = cfg.SOLVER.BEST_CHECKPOINT
    node.METRIC, node.DATASET, node.MODE = metric, dataset, mode
    return cfg


def run(cfg, values):
    recorder = Recorder()
    best = BestCheckpoint(cfg, recorder)
    for iteration, value in enumerate(values):
        best.update({"panoptic_seg": {"PQ": value, "SQ": 100 - iteration}}, iteration)
    return [(saved["value"], saved["iteration"]) for _, saved in recorder.saved]


def test_only_better_values_are_saved():
    assert run(make_cfg(), [float("nan"), 10.0, 10.0, 9.0, 12.0]) == [(10.0, 1), (12.0, 4)]
    assert run(make_cfg(mode="min"), [10.0, 12.0, 9.0]) == [(10.0, 0), (9.0, 2)]


def test_the_file_says_metric_and_test_set():
    recorder = Recorder()
    BestCheckpoint(make_cfg(), recorder).update({"panoptic_seg": {"PQ": 3.0}}, 7)
    expected = {"metric": "panoptic_seg/PQ", "dataset": "a", "value": 3.0, "iteration": 7}
    assert recorder.saved == [("model_best", expected)]


def test_of_several_test_sets_the_named_one_decides():
    recorder = Recorder()
    best = BestCheckpoint(make_cfg(("a", "b"), dataset="b"), recorder)
    for iteration, (first, second) in enumerate([(1.0, 5.0), (9.0, 4.0), (1.0, 6.0)]):
        best.update({"a": {"panoptic_seg": {"PQ": first}}, "b": {"panoptic_seg": {"PQ": second}}}, iteration)
    assert [saved["value"] for _, saved in recorder.saved] == [5.0, 6.0]


def test_an_unknown_metric_is_reported_with_the_known_ones(caplog):
    with caplog.at_level(logging.ERROR):
        assert run(make_cfg(metric="panoptic/PQ"), [1.0]) == []
    assert "'panoptic/PQ' is not evaluated; there is panoptic_seg/PQ, panoptic_seg/SQ" in caplog.text


def test_impossible_rules_are_refused():
    with pytest.raises(ValueError, match="must be max or min"):
        BestCheckpoint(make_cfg(mode="most"), Recorder())
    with pytest.raises(ValueError, match="'c' is not among DATASETS.TEST"):
        BestCheckpoint(make_cfg(dataset="c"), Recorder())
