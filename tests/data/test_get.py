"""Datasets are fetched from a server on this machine, unpacked into the layout, prepared and checked."""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from fcclip.commands import data as command
from fcclip.commands.data import listing, main
from fcclip.data.datasets import REGISTERED
from fcclip.data.get import PREPARATIONS
from fcclip.data.public_datasets import PublicDataset, public_datasets, public_name
from fcclip.files import transfer
from fcclip.files.sources import Expected, WebSource
from tests.data import trees
from tests.files.servers import Served, Server

TREES = {"coco": trees.coco, "ade20k": trees.ade20k, "voc": trees.pascal_voc, "pascal-context": trees.pascal_context}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    monkeypatch.setattr(transfer, "TRIES", 1)
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    with Server().running() as running:
        datasets = {name: _served_here(dataset, running) for name, dataset in public_datasets().items()}
        monkeypatch.setattr(command, "public_datasets", lambda: datasets)
        yield running


def _served_here(dataset: PublicDataset, server: Server) -> PublicDataset:
    """The dataset with other addresses, and nothing known of the files."""
    archives = (
        replace(archive, sources=(WebSource(f"{server.url}/{archive.name}"),), expected=Expected(), about=None)
        for archive in dataset.archives
    )
    return replace(dataset, archives=tuple(archives))


def publish(server: Server, dataset: str, folder: Path) -> None:
    """Put a tiny dataset into archives like those of its owners."""
    root = TREES[dataset](folder / "tree")
    for archive in public_datasets()[dataset].archives:
        base = root / archive.folder
        packed = folder / archive.name
        paths = [root / path for path in archive.provides]
        for inner in archive.inner:
            name = Path(inner).stem
            pack(base / inner, base, [base / name])
            paths = [path for path in paths if path.name != name] + [base / inner]
        if dataset == "voc":
            paths.append(root / "VOCdevkit/VOC2012/ImageSets")
        pack(packed, base, paths)
        server.files[f"/{archive.name}"] = Served(packed.read_bytes())


def pack(archive: Path, base: Path, paths: list[Path]) -> None:
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    names = [(file, str(file.relative_to(base))) for file in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file, name in names:
                packed.write(file, name)
        return
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as packed_tar:
        for file, name in names:
            packed_tar.add(file, name)


@pytest.mark.parametrize("name", TREES)
def test_from_the_name_to_records(
    server: Server, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(server, name, tmp_path)
    root = tmp_path / "datasets"
    main(["get", name, "--root", str(root), "--workers", "1"])
    captured = capsys.readouterr()
    assert "error:" not in captured.err
    assert captured.out.index("licence:") < captured.out.index("to be fetched") < captured.out.index("output")
    for names in public_datasets()[name].check.values():
        for registered in names:
            assert len(DatasetCatalog.get(registered)) == 1
            assert f"{registered} in {root}" in captured.out
    assert "has 1 images, the whole dataset" in captured.out  # the only thing that these tiny ones lack
    assert {line.split(":")[0] for line in captured.out.splitlines() if "has 1 images" in line} == {"number of images"}
    assert [path.name for path in (root / "downloads").iterdir() if path.suffix in (".zip", ".tar", ".gz")] == []
    count = len(server.gets())
    main(["get", name, "--root", str(root), "--workers", "1"])
    assert "nothing to fetch" in capsys.readouterr().out
    assert len(server.gets()) == count


def test_an_interrupted_run_goes_on(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(server, "ade20k", tmp_path)
    root = tmp_path / "datasets"
    arguments = ["get", "ade20k", "--root", str(root), "--workers", "1", "--keep-archives"]
    served = server.files["/annotations_instance.tar"]
    served.cuts = [len(served.content) // 2]
    assert main(arguments) == 1
    assert "the connection was cut; fetch it by hand from" in capsys.readouterr().err
    assert (root / "ADEChallengeData2016/images").is_dir()
    main(arguments)
    assert "error:" not in capsys.readouterr().err
    assert len([get for get in server.gets() if get.path == "/ADEChallengeData2016.zip"]) == 1
    assert (root / "downloads/annotations_instance.tar").is_file()
    (root / "downloads/ADEChallengeData2016.zip.unpacking").touch()  # as if the unpacking had been cut
    (root / "ADEChallengeData2016/images/training/ADE_train_00000001.jpg").unlink(missing_ok=True)
    main(arguments)
    assert "ADEChallengeData2016.zip" in capsys.readouterr().out
    assert not (root / "downloads/ADEChallengeData2016.zip.unpacking").exists()


def test_an_archive_that_was_to_be_deleted_when_the_run_was_killed_is_deleted_by_the_next(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, "pascal-context", tmp_path)
    root = tmp_path / "datasets"
    arguments = ["get", "pascal-context", "--root", str(root), "--workers", "1"]
    unlink = Path.unlink

    def die(path: Path, missing_ok: bool = False) -> None:
        if path.name == "pascal_context_trainval.tar.gz":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", die)
    assert main(arguments) == 130
    monkeypatch.setattr(Path, "unlink", unlink)
    downloads, asked = root / "downloads", len(server.gets())
    assert {"pascal_context_trainval.tar.gz", "pascal_context_trainval.tar.gz.unpacking"} <= names(downloads)
    main(arguments)
    assert len(server.gets()) == asked
    assert not [name for name in names(downloads) if name.endswith((".tar", ".gz", ".unpacking"))]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_training_images_may_be_left_out(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(server, "coco", tmp_path)
    root = tmp_path / "datasets"
    main(["get", "coco", "--root", str(root), "--workers", "1", "--split", "val"])
    assert "/train2017.zip" not in [get.path for get in server.gets()]
    out = capsys.readouterr().out
    assert "openvocab_coco_2017_val_panoptic_with_sem_seg in" in out
    assert "openvocab_coco_2017_train" not in out


def test_what_needs_a_login_says_where_to_click(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cityscapes", "mapillary", "ade20k-full"):
        assert main(["get", name, "--root", str(tmp_path)]) == 1
        out = capsys.readouterr().out
        assert "1. " in out
        assert "https://" in out
        assert f"python -m fcclip data get {name} --root {tmp_path}" in out
    trees.cityscapes(tmp_path)
    main(["get", "cityscapes", "--root", str(tmp_path), "--workers", "1"])
    out = capsys.readouterr().out
    assert "openvocab_cityscapes_fine_panoptic_val in" in out
    assert "has 1 images, the whole dataset 500" in out


def test_nothing_is_fetched_when_only_asked(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "coco", "lvis", "--root", str(tmp_path), "--dry-run"]) == 0
    assert "lvis_v1_val.json.zip" in capsys.readouterr().out
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.strip() == listing().strip()
    assert server.requests == []
    for arguments, message in ((["get"], "give the NAME"), (["get", "x"], "no dataset x; choose from coco, ")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err


def test_a_dataset_that_is_not_there_says_which_command_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`python -m fcclip data get ade20k` does all of it"):
        DatasetCatalog.get("openvocab_ade20k_panoptic_val")
    assert public_name("openvocab_cityscapes_fine_panoptic_val") is None


def test_the_table_names_what_there_is() -> None:
    for dataset in public_datasets().values():
        assert set(dataset.prepare) <= set(PREPARATIONS)
        assert set(dataset.check) == {"val", "train"}
        assert all(name in REGISTERED for names in dataset.check.values() for name in names)
        assert dataset.licence
        assert dataset.page.startswith("http")
        assert bool(dataset.archives) != bool(dataset.by_hand)
        assert set(dataset.training_only) <= {archive.name for archive in dataset.archives}
        for archive in dataset.archives:
            assert archive.page.startswith("http")
            assert archive.about
