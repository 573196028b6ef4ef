"""Shards joined to one COCO panoptic JSON, and scored without segmenting again."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from fcclip.__main__ import main
from fcclip.batch.merge import evaluate, predictions
from fcclip.batch.store import Store
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.dataset import Split, write_split
from fcclip.evaluation.files import score_panoptic_files

NAMES = "; ".join(entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in CLASSES)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes with ground truth, and what the shipped model finds in them, in shards of three."""
    folder = tmp_path_factory.mktemp("scenes")
    write_split(folder / "truth", Split("some", 5, 4, CLASSES), side=96)
    words = ["--model", "panoshapes", "--vocabulary", NAMES, "--shard-size", "3"]
    assert main(["predict", str(folder / "truth" / "images"), "--output", str(folder / "out"), *words]) == 0
    return folder


def test_joined_and_scored(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, target = scenes / "truth", scenes / "out"
    words = ["--evaluate", str(truth / "panoptic.json"), "--evaluate-folder", str(truth / "panoptic")]
    assert main(["predict", "--output", str(target), "--merge", *words]) == 0
    assert "PQ" in capsys.readouterr().out
    report = json.loads((target / "evaluation.json").read_text())
    assert report["images"] == 4
    assert report["All"]["PQ"] > 5

    # What was joined has the ids of this run, and so gets those of the ground truth before it is compared.
    content = json.loads((target / "panoptic.json").read_text())
    true = json.loads((truth / "panoptic.json").read_text())
    ids = {record["file_name"]: record["image_id"] for record in true["annotations"]}
    classes = {category["name"]: category["id"] for category in true["categories"]}
    ours = {category["id"]: classes[category["name"]] for category in content["categories"]}
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4]
    for record in content["annotations"]:
        record["image_id"] = ids[record["file_name"]]
        for segment in record["segments_info"]:
            segment["category_id"] = ours[segment["category_id"]]
    (scenes / "mapped.json").write_text(json.dumps(content))
    files = (truth / "panoptic.json", truth / "panoptic", scenes / "mapped.json", target / "panoptic")
    assert report["All"] == score_panoptic_files(*files)["All"]
    reference = pytest.importorskip("hotcoco.panoptic", reason="hotcoco is the independent scorer")
    true_json, true_folder, joined, folder = map(str, files)
    judge = reference.PanopticEval(true_json, joined, gt_folder=true_folder, pred_folder=folder)
    judge.evaluate()
    assert [report["All"][key] / 100 for key in ("PQ", "SQ", "RQ")] == pytest.approx(
        [judge.results()["All"][key] for key in ("pq", "sq", "rq")], abs=1e-9
    )


def test_what_cannot_be_scored(scenes: Path, tmp_path: Path) -> None:
    truth = scenes / "truth"
    content = json.loads((truth / "panoptic.json").read_text())
    content["annotations"].append({"image_id": 9, "file_name": "more.png", "segments_info": []})
    (tmp_path / "more.json").write_text(json.dumps(content))
    store = Store(str(scenes / "out"))
    with pytest.raises(ValueError, match=r"1 of 5 images of .*more.json have no result, e.g. more"):
        evaluate(store, tmp_path / "more.json", truth / "panoptic")
    content["categories"] = content["categories"][1:]
    content["annotations"] = []
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="the ground truth has no class"):
        evaluate(store, tmp_path / "other.json", truth / "panoptic")
    with pytest.raises(ValueError, match="has no COCO panoptic results"):
        evaluate(Store(str(tmp_path)), truth / "panoptic.json", truth / "panoptic")


def test_results_that_have_lost_a_file(scenes: Path, tmp_path: Path) -> None:
    target = Path(shutil.copytree(scenes / "out", tmp_path / "out"))
    shard = min(target.glob("shards/*.json"))
    png = target / "panoptic" / json.loads(shard.read_text())["annotations"][0]["file_name"]
    for file in (png, shard):
        shard.with_suffix(".tar").unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        with pytest.raises(ValueError, match=f"{file.name} is missing, though the index has it"):
            list(predictions(Store(str(target))))


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no results; check --output"):
        list(predictions(Store(str(tmp_path))))
