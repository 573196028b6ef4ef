"""The CVAT function, with CVAT's own types and its own check of what a function returns."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fcclip.vocabulary import Vocabulary
from tests.integrations.cvat_server import TASK, TOKEN, CvatServer
from tests.integrations.scripts import NAMES, STUFF, load_script, scene, segmenter
from tests.ports import free_port

cvataa = pytest.importorskip("cvat_sdk.auto_annotation")
from cvat_sdk import models  # noqa: E402
from cvat_sdk.auto_annotation.driver import _AnnotationMapper  # noqa: E402
from cvat_sdk.masks import decode_mask  # noqa: E402

script = load_script("cvat_function")
DESCRIBED = "; ".join(f"{name}=stuff" for name in STUFF)


@dataclass(frozen=True)
class Context:
    """What CVAT tells with a picture."""

    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False
    frame_name: str = "scene.png"


def label(number: int, name: str, kind: str) -> Any:
    return models.Label(id=number, name=name, type=kind, attributes=[], sublabels=[])


def function(kinds: dict[str, str]) -> Any:
    vocabulary, kinds = script.task_vocabulary(
        [label(100 + index, name, kinds.get(name, "any")) for index, name in enumerate(NAMES)],
        DESCRIBED,
    )
    return script.CvatFunction(segmenter(), vocabulary, kinds)


def covered(shapes: list[Any], number: int) -> np.ndarray:
    """(H, W) bool: what the shapes of a label cover, filled by CVAT's decoder or OpenCV."""
    height, width = scene().shape[:2]
    canvas = np.zeros((height, width), np.uint8)
    for shape in shapes:
        if shape.label_id == number and shape.type.value == "mask":
            canvas |= decode_mask(shape.points, image_width=width, image_height=height).astype(np.uint8)
        elif shape.label_id == number:
            cv2.fillPoly(canvas, [np.array(shape.points).reshape(-1, 2).round().astype(np.int32)], 1)
    return canvas.astype(bool)


def test_masks_are_those_of_the_segments() -> None:
    found = function({})
    shapes = found.detect(Context(), Image.fromarray(scene()))
    result = segmenter().predict(scene()).above(0.5)
    assert {shape.label_id for shape in shapes} == {segment.category_id for segment in result.segments}
    assert {NAMES[shape.label_id] for shape in shapes} >= {"red star", "snow"}, "things and stuff"
    for segment in result.segments:
        assert np.array_equal(covered(shapes, segment.category_id), result.panoptic == segment.id)
    assert {shape.score for shape in shapes} == {segment.score for segment in result.segments}


def test_polygons_where_the_label_or_cvat_wants_them() -> None:
    masks = function({}).detect(Context(), Image.fromarray(scene()))
    star, snow = NAMES.index("red star"), NAMES.index("snow")
    mixed = function({"red star": "polygon"}).detect(Context(), Image.fromarray(scene()))
    assert {shape.type.value for shape in mixed if shape.label_id == star} == {"polygon"}
    assert {shape.type.value for shape in mixed if shape.label_id == snow} == {"mask"}
    polygons = function({}).detect(Context(conv_mask_to_poly=True), Image.fromarray(scene()))
    assert {shape.type.value for shape in polygons} == {"polygon"}
    truth, drawn = covered(masks, star), covered(polygons, star)
    assert (truth & drawn).sum() / (truth | drawn).sum() > 0.9


def test_the_threshold_of_cvat_is_honoured() -> None:
    found = function({})
    image = Image.fromarray(scene())
    scores = sorted(shape.score for shape in found.detect(Context(conf_threshold=0.0), image))
    middle = scores[len(scores) // 2]
    kept = found.detect(Context(conf_threshold=middle), image)
    assert sorted(shape.score for shape in kept) == [score for score in scores if score >= middle]


@pytest.mark.parametrize("as_polygons", [False, True])
def test_cvat_accepts_what_is_returned(as_polygons: bool) -> None:
    found = function({"red star": "polygon", "snow": "mask"} if not as_polygons else {})
    kinds = {"red star": "polygon", "snow": "mask"} if not as_polygons else {}
    labels = [label(100 + index, name, kinds.get(name, "any")) for index, name in enumerate(NAMES)]
    mapper = _AnnotationMapper(
        logging.getLogger(), found.spec.labels, labels, allow_unmatched_labels=False, conv_mask_to_poly=as_polygons
    )
    shapes = found.detect(Context(conv_mask_to_poly=as_polygons), Image.fromarray(scene()))
    names = [NAMES[shape.label_id] for shape in shapes]
    _, mapped = mapper.validate_and_remap(shapes, 7)
    assert [NAMES[shape.label_id - 100] for shape in mapped] == names
    assert {shape.frame for shape in mapped} == {7}


def test_the_labels_of_the_task_are_the_classes() -> None:
    labels = [label(1, "cat", "any"), label(2, "sky", "mask"), label(3, "nose", "points"), label(4, "dog", "polygon")]
    vocabulary, kinds = script.task_vocabulary(labels, "cat,kitten; sky=stuff")
    assert vocabulary == Vocabulary.from_string("cat,kitten; sky=stuff; dog")
    assert kinds == {"cat": "any", "sky": "mask", "dog": "polygon"}
    with pytest.raises(ValueError, match='"wolf", which is not a label'):
        script.task_vocabulary(labels, "wolf")
    with pytest.raises(ValueError, match="no label for masks or polygons"):
        script.task_vocabulary(labels[2:3])


def test_cvats_own_command_can_load_it() -> None:
    loader = pytest.importorskip("cvat_cli._internal.common", reason="cvat-cli loads functions").FunctionLoader
    from tests.tiny import REPOSITORY

    parameters = {"model": "panoshapes", "vocabulary": "red star; snow=stuff"}
    found = loader(None, REPOSITORY / "integrations" / "cvat_function.py", parameters).load()
    assert [label.name for label in found.spec.labels] == ["red star", "snow"]


def test_a_token_is_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("CVAT_ACCESS_TOKEN", raising=False)
    with pytest.raises(SystemExit):
        script.main(["12"])
    assert "CVAT_ACCESS_TOKEN" in capsys.readouterr().err


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CvatServer]:
    """A server whose task has two pictures, and labels of all types."""
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # the SDK keeps pictures there
    kinds = {**dict.fromkeys(NAMES, "any"), "red star": "polygon", "snow": "mask", "nose": "points"}
    with CvatServer(kinds, {"a.png": scene(), "b.png": scene()[:, ::-1].copy()}).running() as running:
        yield running


def words(server: CvatServer, *more: str) -> list[str]:
    stuff = "; ".join(f"{name}=stuff" for name in STUFF)
    return [
        str(TASK),
        "--server-host",
        server.url,
        "--model",
        "panoshapes",
        "--device",
        "cpu",
        "--vocabulary",
        stuff,
        *more,
    ]


def types(server: CvatServer, name: str) -> set[str]:
    """The types of the shapes that were uploaded last for a label."""
    return {shape["type"] for shape in server.sent[-1][1]["shapes"] if shape["label_id"] == server.label_id(name)}


def test_a_task_is_annotated_with_its_labels(server: CvatServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(words(server, "--threshold", "0.4")) == 0
    method, uploaded = server.sent[-1]
    assert method == "PATCH", "what the task has stays"
    assert {shape["frame"] for shape in uploaded["shapes"]} == {0, 1}
    assert (types(server, "red star"), types(server, "grass"), types(server, "snow")) == (
        {"polygon"},
        {"mask"},
        {"mask"},
    )
    snow = next(shape for shape in uploaded["shapes"] if shape["label_id"] == server.label_id("snow"))
    vocabulary, _ = script.task_vocabulary([label(1, name, "any") for name in NAMES], DESCRIBED)
    result = segmenter().predict(scene(), vocabulary=vocabulary)
    mask = decode_mask(snow["points"], image_width=scene().shape[1], image_height=scene().shape[0])
    assert np.array_equal(mask, result.panoptic == next(s.id for s in result.segments if s.name == "snow"))
    assert "task 12 is annotated with 6 classes: red star;" in capsys.readouterr().out


def test_polygons_leave_labels_alone_that_are_for_masks(server: CvatServer) -> None:
    assert script.main(words(server, "--polygons", "--replace")) == 0
    assert server.sent[-1][0] == "PUT", "what the task has goes"
    assert (types(server, "grass"), types(server, "snow")) == ({"polygon"}, {"mask"})


def test_what_cvat_answers_is_a_sentence(
    server: CvatServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["13", *words(server)[1:]]) == 1
    assert "answers 404 Not Found; check that task 13 is there, and yours" in capsys.readouterr().err
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "wrong")
    assert script.main(words(server)) == 1
    assert "answers 401 Unauthorized; check CVAT_ACCESS_TOKEN" in capsys.readouterr().err
    assert script.main(["12", "--server-host", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "cannot be reached; check --server-host" in capsys.readouterr().err
