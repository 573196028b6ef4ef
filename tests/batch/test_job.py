"""One process: results, resuming to the image, failures as records, and refusals before any work."""

import json
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from fcclip.batch import worker
from fcclip.batch.merge import predictions
from fcclip.batch.store import Store
from fcclip.batch.writing import PartWriter
from fcclip.meta_arch.pictures import PictureModel
from tests.batch.sources import image_bytes, index, manifest, panoptic_pngs, predict, write_images, write_tar


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images, segmented into shards of three."""
    folder = tmp_path_factory.mktemp("batch")
    write_images(folder / "in", 7)
    assert predict(folder / "in", folder / "out", folder, "--shard-size", "3") == 0
    return folder


def test_what_is_written(done: Path) -> None:
    target = done / "out"
    counts = manifest(target)
    assert (counts["total"], counts["done"], counts["run"]["images"]) == (7, 7, 7)
    assert set(counts["seconds"]) == {"network", "reading", "writing"}
    rows = index(target)
    assert [row["id"] for row in rows] == sorted(f"{'sub/' if n % 3 == 0 else ''}{n:03d}.png" for n in range(7))
    assert all((row["height"], row["width"], row["error"]) == (24, 32, None) for row in rows)
    assert rows[0]["path"] == f"file://{done}/in/001.png"
    assert sorted(panoptic_pngs(target)) == sorted(row["id"] for row in rows)
    assert {row["image_id"] for row in rows} == set(range(1, 8))
    content = json.loads((target / "shards" / "00000000-000000-000003.json").read_text())
    assert [one["id"] for one in content["images"]] == [1, 2, 3]
    for row in rows:
        assert sum(segment["area"] for segment in row["segments"]) <= 24 * 32
    assert {entry.name for entry in target.iterdir()} == {
        "fingerprint.json", "index.parquet", "manifest.json", "plan", "shards",
    }  # fmt: skip


def test_the_same_command_does_only_what_is_missing(done: Path, tmp_path: Path, monkeypatch) -> None:
    """Interrupted in the middle of a shard, the run goes on at the very image."""
    seen: list[str] = []
    add = PartWriter.add

    def count(self: PartWriter, item, *arguments) -> None:
        if len(seen) == 4:
            seen.append("interrupted")
            raise KeyboardInterrupt
        add(self, item, *arguments)
        seen.append(item.id)

    monkeypatch.setattr(PartWriter, "add", count)
    target = tmp_path / "out"
    assert predict(done / "in", target, tmp_path, "--shard-size", "3") == 130
    assert (manifest(target)["done"], manifest(target)["skipped"]) == (4, 3)
    assert sorted(path.stem for path in (target / "index.parquet").iterdir()) == [
        "00000000-000000-000003", "00000001-000000-000001",
    ]  # fmt: skip
    seen.remove("interrupted")
    seen.insert(0, "before")
    assert predict(done / "in", target, tmp_path, "--shard-size", "3") == 0
    assert sorted(seen[1:]) == [row["id"] for row in index(target)]
    assert panoptic_pngs(target) == panoptic_pngs(done / "out")
    monkeypatch.setattr(worker.Segmenter, "from_cfg", lambda cfg: pytest.fail("there is nothing to do"))
    assert predict(done / "in", target, tmp_path, "--shard-size", "3") == 0
    assert manifest(target)["done"] == 7


def test_parts_are_closed_in_time(done: Path, tmp_path: Path) -> None:
    assert predict(done / "in", tmp_path / "out", tmp_path, "--flush-seconds", "0") == 0
    assert manifest(tmp_path / "out")["parts"] == 7
    assert panoptic_pngs(tmp_path / "out") == panoptic_pngs(done / "out")


def test_results_without_records_are_deleted(done: Path, tmp_path: Path, monkeypatch) -> None:
    """Killed after the results of a part were sent and before its records were, the run makes other parts later."""
    target = tmp_path / "out"

    def die(*arguments) -> None:
        raise SystemExit

    monkeypatch.setattr(worker, "write_part", die)
    with pytest.raises(SystemExit):
        predict(done / "in", target, tmp_path, "--shard-size", "3", "--flush-seconds", "0")
    monkeypatch.undo()
    assert {path.stem for path in (target / "shards").iterdir()} == {"00000000-000000-000001"}
    assert predict(done / "in", target, tmp_path, "--shard-size", "3") == 0
    assert {path.stem for path in (target / "shards").iterdir()} == {
        path.stem for path in (target / "index.parquet").iterdir()
    }
    assert panoptic_pngs(target) == panoptic_pngs(done / "out")


def test_failures_are_records_and_are_tried_again(tmp_path: Path, capsys) -> None:
    folder = write_images(tmp_path / "in", 4)
    (folder / "002.png").write_bytes(image_bytes(2)[:60])
    target = tmp_path / "out"
    assert predict(folder, target, tmp_path) == 1
    assert manifest(target)["failed"] == 1
    [failed] = [row for row in index(target) if row["error"]]
    assert failed["id"] == "002.png"
    assert failed["error"].startswith("UnreadableImageError: 002.png is not a readable image")
    assert "failed: 002.png: UnreadableImageError" in capsys.readouterr().err
    (folder / "002.png").write_bytes(image_bytes(2))
    assert predict(folder, target, tmp_path) == 1, "it is not tried again unasked"
    assert predict(folder, target, tmp_path, "--retry-failed") == 0
    assert (manifest(target)["done"], manifest(target)["run"]["images"]) == (4, 1)
    assert [row["error"] for row in index(target)] == [None] * 4
    assert len(panoptic_pngs(target)) == len(list(predictions(Store(str(target))))) == 4


def test_new_images_are_added(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", 2)
    assert predict(folder, tmp_path / "out", tmp_path) == 0
    (folder / "000.png").write_bytes(image_bytes(9))
    assert predict(folder, tmp_path / "out", tmp_path, "--planned") == 0
    assert manifest(tmp_path / "out")["total"] == 2
    assert predict(folder, tmp_path / "out", tmp_path) == 0
    assert [row["image_id"] for row in index(tmp_path / "out")] == [1001, 1, 2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--vocabulary", "cat"), "another vocabulary"),
        (("--confidence-threshold", "0.5"), "another confidence threshold"),
        (("--opts", "INPUT.MIN_SIZE_TEST", "64"), "another configuration"),
        (("--format", "yolo"), "another formats"),
        (("--shard-size", "9"), "shards of 3 images"),
    ],
)
def test_results_of_another_run_are_refused(done: Path, tmp_path: Path, capsys, words, sentence) -> None:
    before = sorted(done.rglob("out/**/*"))
    assert (
        predict(done / "in", done / "out", tmp_path, *(["--shard-size", "3"] if "9" not in words else []), *words) == 1
    )
    assert sentence in capsys.readouterr().err
    assert sorted(done.rglob("out/**/*")) == before


def test_a_target_without_results_can_be_had_by_another_run(tmp_path: Path, capsys) -> None:
    folder = write_images(tmp_path / "in", 2)
    words = ("--shard-size", "1", "--opts", "MODEL.MASK_FORMER.TEST.PANOPTIC_ON", "False")
    assert predict(folder, tmp_path / "out", tmp_path, *words) == 1
    assert "gives no panoptic results" in capsys.readouterr().err
    assert predict(folder, tmp_path / "out", tmp_path) == 0
    assert manifest(tmp_path / "out")["parts"] == 1


def test_other_formats_and_loose_pngs(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "in.tar", ["a.png", "b.png"])
    words = ("--format", "coco-panoptic", "yolo", "csv", "--loose", "--batch-size", "2")
    assert predict(tar, tmp_path / "out", tmp_path, *words) == 0
    names = {path.name for path in (tmp_path / "out" / "shards").iterdir()}
    stem = "00000000-000000-000002"
    assert names == {f"{stem}.json", f"{stem}.yolo.tar", f"{stem}.csv.tar"}
    with Image.open(tmp_path / "out" / "panoptic" / "in" / "a.png") as png:
        assert png.size == (32, 24)
    assert len(list(predictions(Store(str(tmp_path / "out"))))) == 2


def test_a_fault_that_is_not_of_an_image_ends_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    def broken(self: object, picture: object, classes: object, instance_threshold: float) -> None:
        raise RuntimeError("the GPU has fallen off the bus")

    monkeypatch.setattr(PictureModel, "answer", broken)
    assert predict(write_images(tmp_path / "in", 2), tmp_path / "out", tmp_path) == 1
    assert "fallen off the bus" in capsys.readouterr().err
    assert manifest(tmp_path / "out")["skipped"] == 2
