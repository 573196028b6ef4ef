"""An evaluation says which class names were asked for, and how many of the classes count as seen."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detectron2.data import MetadataCatalog

from fcclip.evaluation import evaluate
from fcclip.evaluation.class_names import ClassNames, class_names_of
from fcclip.evaluation.loop import inference_folder
from fcclip.vocabulary import Vocabulary
from tests.evaluation.catalog import Register
from tests.evaluation.world import Oracle, make_world
from tests.tiny import tiny_model


class Pair(list[str]):
    """What a model's vocabularies say; besides, the names of the datasets, as `Oracle` keeps them."""

    def seen_flags(self) -> list[bool]:
        return [True, False, True]


@pytest.mark.parametrize(
    ("metadata", "folder", "lists"),
    [
        ({"vocabulary": "ade20k_150"}, "", "project"),
        ({"vocabulary": "ade20k_150"}, "published", "published"),
        ({"vocabulary": "ade20k_150"}, "my/lists", "my/lists"),
        ({}, "published", "dataset"),
    ],
)
def test_lists(metadata: dict[str, Any], folder: str, lists: str) -> None:
    model = SimpleNamespace(vocabularies=Pair())
    assert class_names_of(model, metadata, folder) == ClassNames(lists, classes=3, seen=2)


def test_a_model_says_which_classes_it_has_seen() -> None:
    metadata = MetadataCatalog.get("openvocab_ade20k_panoptic_val")
    training = MetadataCatalog.get("openvocab_coco_2017_train_panoptic_with_sem_seg")
    flags = Vocabulary.from_metadata(metadata).seen_in(Vocabulary.from_metadata(training))
    assert class_names_of(tiny_model(), metadata, "") == ClassNames("project", classes=150, seen=sum(flags))
    assert 60 < sum(flags) < 90


def test_sentences() -> None:
    assert ClassNames("published", 150, 64).sentence() == (
        "Class names: the published lists (commit 2b0bbe213070); 64 of 150 classes count as seen in training"
    )
    ours = ClassNames("project", 150, 72).sentence()
    assert ours.startswith("Class names: the lists of this project; 72 of 150 classes")
    assert ours.endswith("Published figures need the published lists: MODEL.FC_CLIP.VOCABULARY_DIR published")
    assert "the lists in my/lists" in ClassNames("my/lists", 150, 72).sentence()


def test_log_report_and_results(register: Register, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(register, tmp_path)
    model = Oracle(world)
    without = world.cfg()
    evaluate(model, without, world.name)
    folder = inference_folder(without, world.name)
    assert '"class_names": null' in (folder / "results.json").read_text()
    naming = Naming(world)
    with caplog.at_level("INFO", logger="fcclip"):
        evaluate(naming, world.cfg(), world.name)
    sentence = "Class names: those of the dataset; 2 of 3 classes count as seen in training"
    assert caplog.text.count(sentence) == 2  # before the images, and in the report
    assert sentence in (folder / "results.md").read_text()
    assert '"seen": 2' in (folder / "results.json").read_text()


class Naming(Oracle):
    """Says which classes it was asked for."""

    def set_metadata(self, metadata: Any) -> None:
        self.vocabularies: Any = Pair([metadata.name])
