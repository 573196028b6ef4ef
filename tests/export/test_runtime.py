"""An exported model gives what the same model gives with PyTorch, and needs no PyTorch for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.export import Runtime
from fcclip.export.manifest import MANIFEST
from fcclip.segmentation import Segmentation
from tests.export.systems import GIVEN, SYSTEMS, Pair, export_small, needs_exporter, picture
from tests.tiny import REPOSITORY

pytestmark = needs_exporter

SIZES = [(90, 120), (128, 70), (64, 64)]
VOCABULARIES = ["red circle; grass=stuff", "dog,puppy; sky=stuff; road=stuff; car", "tree; house,hut; lake=stuff"]
MOST_PIXELS = 1e-3  # share of them, where two classes are equally likely

# Segments in a process in which nothing of this can be imported.
WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "detectron2", "open_clip", "timm"):
    sys.modules[name] = None
import numpy as np
from fcclip.export import Runtime
runtime = Runtime(sys.argv[1], threads=1)
result = runtime.predict(np.load(sys.argv[2]), vocabulary="walrus, seal; beach=stuff")
np.save(sys.argv[3], result.panoptic if result.semantic is None else result.semantic)
print([name for name in ("torch", "detectron2") if sys.modules.get(name)], result.table() != "")
"""


@pytest.fixture(scope="module")
def export_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """A model is exported when it is first asked for, as that takes seconds."""
    return cache(lambda system: export_small(system, tmp_path_factory.mktemp("export") / system))


@pytest.fixture(scope="module", params=SYSTEMS)
def pair(request: pytest.FixtureRequest, export_once: Callable[[str], Pair]) -> Pair:
    return export_once(request.param)


@pytest.fixture(scope="module")
def small(export_once: Callable[[str], Pair]) -> Pair:
    return export_once("convnext")


def assert_same(ours: Segmentation, theirs: Segmentation) -> None:
    """Equal but for rounding: maps in a handful of pixels, scores to 1e-3."""
    for own, other in ((ours.panoptic, theirs.panoptic), (ours.semantic, theirs.semantic)):
        assert (own is None) == (other is None)
        if own is not None and other is not None:
            assert np.mean(own != other) <= MOST_PIXELS
    assert [segment.name for segment in ours.segments] == [segment.name for segment in theirs.segments]
    for one, two in zip(ours.segments, theirs.segments, strict=True):
        assert one.score == pytest.approx(two.score, abs=1e-3)
        assert [score.name for score in one.scores] == [score.name for score in two.scores]
        assert one.embedding is not None
        assert two.embedding is not None
        np.testing.assert_allclose(one.embedding, two.embedding, atol=1e-3)
    if theirs.instances is not None:
        assert ours.instances is not None
        np.testing.assert_allclose(ours.instances.scores, theirs.instances.scores, atol=1e-3)


def test_results_are_those_of_pytorch(pair: Pair) -> None:
    for size in SIZES:
        image = picture(*size)
        encoded, reference = pair.runtime.encode(image), pair.segmenter.encode(image)
        for names in VOCABULARIES:
            ours = pair.runtime.predict(encoded, vocabulary=names)
            assert_same(ours, pair.segmenter.predict(reference, vocabulary=names))
        assert ours.random_weights


def test_what_is_decoded_is_that_of_pytorch(pair: Pair) -> None:
    image = picture(*SIZES[0])
    ours, theirs = pair.runtime.encode(image).encoded, pair.segmenter.encode(image).encoded
    if isinstance(ours, dict):
        for name, values in ours.items():
            np.testing.assert_allclose(values, getattr(theirs.decoded, name)[0].numpy(), atol=1e-3)
        return
    for batch, reference in zip(ours, theirs.decoded, strict=True):
        np.testing.assert_allclose(batch["image"], reference.image.numpy(), atol=1e-3)
        for block, patches in reference.patches.items():
            np.testing.assert_allclose(batch[f"patches_{block}"], patches.numpy(), atol=1e-3)


def test_batches_give_what_single_pictures_give(pair: Pair) -> None:
    pictures = [picture(*size) for size in (SIZES[0], SIZES[1], SIZES[0])]
    pair.runtime.set_vocabulary(VOCABULARIES[1])
    together = pair.runtime.predict(pictures, batch_size=2)
    for image, result in zip(pictures, together, strict=True):
        assert_same(result, pair.runtime.predict(image))


def test_it_gives_the_same_bits_again_and_when_it_is_opened_anew(pair: Pair) -> None:
    image = picture(*SIZES[0])
    first = pair.runtime.predict(image, vocabulary=VOCABULARIES[1])
    for runtime in (pair.runtime, Runtime(pair.folder, threads=1)):
        again = runtime.predict(image, vocabulary=VOCABULARIES[1])
        for one, other in ((first.panoptic, again.panoptic), (first.semantic, again.semantic)):
            assert np.array_equal(one, other)
        assert [(s.name, s.score) for s in first.segments] == [(s.name, s.score) for s in again.segments]
        if first.instances is not None:
            assert np.array_equal(first.instances.scores, again.instances.scores)
            assert np.array_equal(first.instances.masks, again.instances.masks)


def test_the_folder_knows_its_classes_and_how_to_embed_others(pair: Pair) -> None:
    runtime = Runtime(pair.folder, threads=1)
    assert runtime.vocabulary == GIVEN
    names = ["cross", "a very small dog", "½ litre"]
    np.testing.assert_allclose(runtime.embed_text(names), pair.segmenter.embed_text(names), atol=1e-5)


def test_negatives_and_thresholds(small: Pair) -> None:
    image = picture(*SIZES[0])
    for names in (
        "circle; sky=stuff; not: cloud, dog",
        "circle>0.3; sky=stuff",
        "dog; sky=stuff; not: everything else",
    ):
        assert_same(small.runtime.predict(image, vocabulary=names), small.segmenter.predict(image, vocabulary=names))


def test_it_runs_without_pytorch(pair: Pair, tmp_path: Path) -> None:
    image = picture(*SIZES[0])
    np.save(tmp_path / "image.npy", image)
    command = [sys.executable, "-c", WITHOUT_TORCH, pair.folder, tmp_path / "image.npy", tmp_path / "map.npy"]
    done = subprocess.run(
        list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "[] True\n", done.stderr
    expected = pair.segmenter.predict(image, vocabulary="walrus, seal; beach=stuff")
    reference = expected.panoptic if expected.semantic is None else expected.semantic
    assert np.mean(np.load(tmp_path / "map.npy") != reference) <= MOST_PIXELS


def test_the_code_of_the_page_runs(small: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(90, 120)).save("photo.jpg")
    Path("exported").symlink_to(small.folder)
    page = REPOSITORY / "docs" / "deployment.md"
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    names: dict[str, object] = {}
    exec(compile(code, str(page), "exec"), names)
    assert isinstance(names["result"], Segmentation)


@pytest.fixture
def copied(small: Pair, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.folder, tmp_path / "copy"))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no exported model in .*fcclip export"):
        Runtime(tmp_path)


def test_a_missing_file(copied: Path) -> None:
    (copied / "image.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks image\.onnx"):
        Runtime(copied)


def test_a_file_that_was_changed(copied: Path) -> None:
    with (copied / "text.onnx").open("ab") as file:
        file.write(b"more")
    runtime = Runtime(copied)  # has no need of that file yet
    with pytest.raises(ValueError, match="SHA-256 differs"):
        runtime.set_vocabulary("a name that is new")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("opset", 99, "opset 99.*18 to 21.*--opset 18"),
        ("version", 2, "version 2.*reads version 1"),
        ("pixels", None, "damaged"),
    ],
)
def test_a_manifest_of_another_program(copied: Path, key: str, value: object, message: str) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    manifest[key] = value
    (copied / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        Runtime(copied)


def test_a_graph_that_the_engine_cannot_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcclip.export.runtime.check_files", lambda *arguments: None)
    (copied / "image.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"cannot read .*image\.onnx"):
        Runtime(copied)


def test_a_picture_that_is_too_small(small: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = small.runtime.manifest
    monkeypatch.setattr(small.runtime, "manifest", replace(manifest, pixels=replace(manifest.pixels, shorter_side=16)))
    with pytest.raises(ValueError, match="30x20 pixels is too small.*at least 64 pixels"):
        small.runtime.predict(picture(20, 30))


def test_there_is_one_engine(small: Pair) -> None:
    with pytest.raises(ValueError, match='no engine "abacus"; choose one of onnxruntime'):
        Runtime(small.folder, engine="abacus")
