"""Prepared files follow their inputs, stay in their folder, and are never made of nonsense."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcclip.data.prepare import ade20k, pascal_voc
from fcclip.data.prepare.coco import prepare_semantic
from fcclip.data.prepare.jobs import Options, Output
from fcclip.data.prepare.own_labels import prepare as prepare_own
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import write_panoptic_png
from tests.data import trees


def labels_of(path: Path) -> list[int]:
    return np.unique(read_label_map(path)).tolist()


def own(folder: Path, names: str) -> Output:
    (folder / "names.txt").write_text(names)
    (output,) = prepare_own(Options(folder), folder / "raw", folder / "names.txt", folder / "out")
    return output


def test_own_label_maps_follow_the_names_and_the_raw_maps(tmp_path: Path):
    raw = trees.write_labels(tmp_path / "raw/a.png", trees.left_and_right(10, 20))
    assert own(tmp_path, "10:steel\n20:rust\n").written == 1
    assert labels_of(tmp_path / "out/a.png") == [0, 1]
    assert own(tmp_path, "10:steel,metal\n20:rust\n").kept == 1, "synonyms change no label"
    assert own(tmp_path, "5:wood\n10:steel\n20:rust\n").written == 1
    assert labels_of(tmp_path / "out/a.png") == [1, 2]
    trees.write_labels(raw, trees.left_and_right(20, 20))
    assert own(tmp_path, "5:wood\n10:steel\n20:rust\n").written == 1
    assert labels_of(tmp_path / "out/a.png") == [2]
    assert own(tmp_path, "5:wood\n10:steel\n20:rust\n").kept == 1


def test_a_damaged_output_is_made_again(tmp_path: Path):
    trees.write_labels(tmp_path / "raw/a.png", np.random.default_rng(0).choice([10, 20], (60, 80)))
    own(tmp_path, "10:steel\n20:rust\n")
    path = tmp_path / "out/a.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert own(tmp_path, "10:steel\n20:rust\n").written == 1
    assert labels_of(path) == [0, 1]


@pytest.mark.parametrize(
    ("names", "says"), [("10:a\n10:b\n", "number 10 is given twice"), ("a\nb\n", "have no numbers")]
)
def test_wrong_names_are_refused(tmp_path: Path, names: str, says: str):
    trees.write_labels(tmp_path / "raw/a.png", trees.left_and_right(10, 20))
    with pytest.raises(ValueError, match=says):
        own(tmp_path, names)


def test_nothing_is_converted_in_place(tmp_path: Path):
    raw = trees.write_labels(tmp_path / "raw/a.png", trees.left_and_right(10, 20))
    (tmp_path / "names.txt").write_text("10:steel\n20:rust\n")
    with pytest.raises(ValueError, match="would be overwritten by their conversion"):
        prepare_own(Options(tmp_path), tmp_path / "raw", tmp_path / "names.txt", tmp_path / "raw/../raw")
    assert labels_of(raw) == [10, 20]


def test_a_folder_among_the_label_maps_is_named(tmp_path: Path):
    (tmp_path / "raw/a.png").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"a\.png is not a file"):
        own(tmp_path, "10:steel\n")


def panoptic(folder: Path, *segments: Any, categories: Any = None, **annotation: Any) -> list[Output]:
    """Convert one picture, segment 5 left and 6 right."""
    write_panoptic_png(folder / "pan/a.png", trees.left_and_right(5, 6))
    write_panoptic_png(folder / "victim.png", trees.left_and_right(5, 6))
    given = {"image_id": 1, "file_name": "a.png", "segments_info": list(segments), **annotation}
    categories = categories or [{"id": 1, "name": "a", "isthing": 1}, {"id": 3, "name": "b", "isthing": 0}]
    path = trees.write_json(folder / "p.json", {"images": [], "categories": categories, "annotations": [given]})
    return prepare_semantic(Options(folder), path, folder / "pan", folder / "deep/out")


GOOD = ({"id": 5, "category_id": 1}, {"id": 6, "category_id": 3})


def test_label_maps_follow_the_panoptic_json(tmp_path: Path):
    assert panoptic(tmp_path, *GOOD)[0].written == 1
    assert labels_of(tmp_path / "deep/out/a.png") == [0, 1]
    more = [{"id": id_, "name": name, "isthing": 0} for id_, name in ((1, "a"), (2, "new"), (3, "b"))]
    assert panoptic(tmp_path, *GOOD, categories=more)[0].written == 1
    assert labels_of(tmp_path / "deep/out/a.png") == [0, 2]
    corrected = ({"id": 5, "category_id": 2}, GOOD[1])
    panoptic(tmp_path, *corrected, categories=more)
    assert labels_of(tmp_path / "deep/out/a.png") == [1, 2]


@pytest.mark.parametrize(
    "name", ["../victim.png", "..\\victim.png", "{folder}/victim.png", "C:\\victim.png", "", "a\0.png", 3]
)
def test_nothing_is_written_outside(tmp_path: Path, name: Any):
    before = sorted(tmp_path.rglob("*"))
    name = name.format(folder=tmp_path) if isinstance(name, str) else name
    with pytest.raises(ValueError, match="should be a name below the folder of PNGs"):
        panoptic(tmp_path, *GOOD, file_name=name)
    made = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} - {str(path) for path in before}
    assert made == {"pan", "victim.png", "p.json"}


@pytest.mark.parametrize("id_", [1 << 24, -1, 0, 5.0, "5", None, True, float("nan"), 10**30])
def test_segment_ids_are_integers_of_three_bytes(tmp_path: Path, id_: Any):
    with pytest.raises(ValueError, match=r"p\.json: the annotation of image 1 has a segment with the id"):
        panoptic(tmp_path, {"id": id_, "category_id": 1})


@pytest.mark.parametrize(
    ("segments", "changes", "says"),
    [
        ((GOOD[0], {"id": 5, "category_id": 3}), {}, "two segments with the id 5"),
        (({"id": 5, "category_id": [1]},), {}, r"category_id \[1\]"),
        (({"id": 5, "category_id": 1, "area": "24"},), {}, "the area '24'"),
        (({"id": 5, "category_id": 1, "area": -5},), {}, "the area -5"),
        (({"id": 5, "category_id": 1, "iscrowd": "false"},), {}, "iscrowd 'false'"),
        ((), {"segments_info": None}, "segments_info should be a list"),
        ((3,), {}, "segments_info should be a list of objects"),
        (GOOD, {"image_id": [1]}, r"image_id \[1\]"),
        (GOOD, {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "lists the id 1 twice"),
        (GOOD, {"categories": [{"id": 1, "name": "a", "isthing": "no"}]}, "\"isthing\" 'no'"),
        (GOOD, {"categories": [{"name": "a"}]}, "the id None"),
        (GOOD, {"categories": [7]}, "should be an object"),
    ],
)
def test_a_wrong_json_is_refused_with_the_entry(tmp_path: Path, segments: Any, changes: Any, says: str):
    with pytest.raises(ValueError, match=rf"p\.json: .*{says}"):
        panoptic(tmp_path, *segments, **changes)
    assert not (tmp_path / "deep").exists()


def test_two_inputs_never_go_to_one_output(tmp_path: Path):
    panoptic(tmp_path, *GOOD)
    content = json.loads((tmp_path / "p.json").read_text())
    content["annotations"].append({**content["annotations"][0], "image_id": 2, "file_name": "a.tif"})
    trees.write_json(tmp_path / "p.json", content)
    with pytest.raises(ValueError, match=r"a\.png and a\.tif would both be written to"):
        prepare_semantic(Options(tmp_path), tmp_path / "p.json", tmp_path / "pan", tmp_path / "other")
    content["annotations"] = []
    trees.write_json(tmp_path / "p.json", content)
    with pytest.raises(ValueError, match="nothing to convert"):
        prepare_semantic(Options(tmp_path), tmp_path / "p.json", tmp_path / "pan", tmp_path / "other")


def test_copies_follow_their_source_even_at_equal_size(tmp_path: Path):
    trees.pascal_voc(tmp_path)
    pascal_voc.prepare(Options(tmp_path))
    source = tmp_path / "VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg"
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    source.write_bytes(content)
    os.utime(source, (1e9, 1e9))
    written = {output.path.name: output.written for output in pascal_voc.prepare(Options(tmp_path)) if output.written}
    assert written == {"validation": 1}
    assert (tmp_path / "pascal_voc_d2/images/validation/2007_000033.jpg").read_bytes() == content


@pytest.mark.parametrize("kind", ["annotations", "annotations_instance"])
def test_made_json_files_follow_their_sources(tmp_path: Path, kind: str):
    trees.ade20k(tmp_path)
    steps = (ade20k.prepare_instances, ade20k.prepare_panoptic)
    for step in steps:
        step(Options(tmp_path))
    assert sum(output.written for step in steps for output in step(Options(tmp_path))) == 0
    os.utime(tmp_path / f"ADEChallengeData2016/{kind}/validation/ADE_val_00000001.png", (1e9, 1e9))
    again = {output.path.name for step in steps for output in step(Options(tmp_path)) if output.written}
    instances = {"ade20k_instance_val.json"} if kind == "annotations_instance" else set()
    assert again == {"ade20k_panoptic_val", "ade20k_panoptic_val.json"} | instances
