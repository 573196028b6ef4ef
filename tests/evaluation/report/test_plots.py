"""Plots and the page of the worst images: what they say, and that nothing needs a window or a network."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image

from fcclip.evaluation import evaluate, inference_folder
from fcclip.evaluation.base import Comparison
from fcclip.evaluation.report.page import worst_images_page
from fcclip.evaluation.report.plots import BARS, class_bars, worst_confusions
from fcclip.evaluation.report.worst import BadImage
from tests.evaluation.catalog import Register
from tests.evaluation.world import Oracle, make_world


def labels_of(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_bars_are_ranked_and_labelled():
    figure = class_bars({"cat": 20.0, "dog": 90.0, "sky": 55.5}, "title")
    assert labels_of(figure) == ["dog", "sky", "cat"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [90.0, 55.5, 20.0]
    assert {"90.0", "55.5", "20.0"} <= {text.get_text() for text in figure.axes[0].texts}


def test_of_many_classes_the_best_and_the_worst_are_shown():
    figure = class_bars({f"c{k}": float(k) / 20 for k in range(1203)}, "title")
    names = labels_of(figure)
    assert len(names) == BARS + 1
    assert names[0] == "c1202"
    assert names[-1] == "c0"
    assert names[BARS // 2] == f"… {1203 - BARS} classes in between …"


def test_confusions_of_the_worst_classes():
    confusion = np.array([[90, 60, 0], [10, 30, 0], [0, 10, 0], [0, 0, 0]])  # [predicted, true]
    figure = worst_confusions(confusion, ["cat", "dog", "sky"])
    assert labels_of(figure) == ["dog  27.3", "cat  56.2"]  # sky has no pixel
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"30", "cat 60", "sky 10", "90", "dog 10"} <= texts


def test_page_shows_pictures_shares_and_colours(tmp_path: Path, register: Register):
    Image.new("RGB", (8, 4), (0, 128, 0)).save(tmp_path / "<a>.png")
    true, predicted = np.zeros((4, 8), np.int32), np.zeros((4, 8), np.int32)
    true[:, 6:], predicted[:, 4:] = -1, 1
    metadata = MetadataCatalog.get(
        register([], stuff_classes=["cat,kitten", "dog"], stuff_colors=[[1, 2, 3], [4, 5, 6]])
    )
    image = BadImage(0.25, str(tmp_path / "<a>.png"), Comparison(true, predicted, true, predicted))
    page = worst_images_page([image], metadata, "data<set>", "semantic")
    assert "1. score 25.0 — " in page
    assert "&lt;a&gt;.png" in page
    assert "data&lt;set&gt;" in page
    assert re.findall(r'rgb\((.*?)\)"></i>(.*?) <span>(.*?)</span>', page) == [
        ("1, 2, 3", "cat", "75% / 50%"),
        ("4, 5, 6", "dog", "0% / 50%"),
    ]
    assert page.count('src="data:image/') == page.count("<img") == 4
    assert "http" not in page


@pytest.mark.parametrize("evaluator_type", ["coco_panoptic_seg", "sem_seg", "coco"])
def test_evaluation_writes_what_it_can_show(register: Register, tmp_path: Path, evaluator_type: str):
    world = make_world(register, tmp_path, evaluator_type=evaluator_type)
    cfg = world.cfg(PLOTS=True, WORST_IMAGES=2)
    evaluate(Oracle(world), cfg, world.name)
    files = {path.name for path in inference_folder(cfg, world.name).iterdir()}
    expected = {
        "coco_panoptic_seg": {
            "per_class_panoptic_seg.png",
            "per_class_sem_seg.png",
            "per_class_segm.png",
            "per_class_bbox.png",
            "confusion.png",
            "confusion.csv",
            "worst_images.html",
            "worst_images_semantic.html",
            "worst_images_instances.html",
        },
        "sem_seg": {"per_class_sem_seg.png", "confusion.png", "confusion.csv", "worst_images.html"},
        "coco": {"per_class_segm.png", "per_class_bbox.png", "worst_images.html"},
    }
    assert files == expected[evaluator_type] | {"results.json", "results.md", "per_class.csv"}


def test_importing_the_evaluation_does_not_import_plots_of_it():
    code = "import fcclip.evaluation, sys; sys.exit('fcclip.evaluation.report.plots' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
