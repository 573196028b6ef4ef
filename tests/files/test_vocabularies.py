"""The published lists are fetched once, checked, and used where "published" is asked for."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

import fcclip  # noqa: F401, registers the datasets
from fcclip.files import transfer, vocabularies
from fcclip.files.download import DownloadError
from fcclip.files.vocabularies import description, published_vocabularies, vocabulary_folder
from fcclip.vocabulary import Vocabulary
from tests.files.servers import Served, Server
from tests.shared import SHARED, needs_shared

LISTS = SHARED / "data" / "published_vocabularies"
TRAINING = "openvocab_coco_2017_train_panoptic_with_sem_seg"
# Classes that share a name with one of the training set, with the published lists.
SEEN = {
    "openvocab_ade20k_panoptic_val": (64, 150),
    "openvocab_ade20k_full_sem_seg_val": (101, 847),
    "openvocab_cityscapes_fine_panoptic_val": (17, 19),
    "openvocab_mapillary_vistas_panoptic_val": (26, 65),
    "openvocab_pascal_ctx59_sem_seg_val": (51, 59),
    "openvocab_pascal_ctx459_sem_seg_val": (85, 459),
    "openvocab_coco_2017_test_stuff_sem_seg": (135, 171),
    "openvocab_lvis_v1_val": (80, 1203),
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with Server().running() as running:
        yield running


def publish(server: Server, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Serve files as the published ones."""
    published = {**description(), "raw": server.url}
    published["sha256"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    for name, content in files.items():
        server.files[f"/{published['commit']}/{published['folder']}/{name}"] = Served(content)
    monkeypatch.setattr(vocabularies, "description", lambda: published)


def test_the_lists_are_fetched_once_and_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"{index}:published name {index}\n" for index in range(19))
    publish(server, monkeypatch, {"cityscapes_with_prompt_eng.txt": lines.encode(), "other.txt": b"0:other"})
    metadata = MetadataCatalog.get("openvocab_cityscapes_fine_panoptic_val")
    for _ in range(2):
        assert Vocabulary.from_metadata(metadata, "published").names[:2] == ("published name 0", "published name 1")
    assert len(server.gets()) == 2
    assert Vocabulary.from_metadata(metadata).names[0] == "road"


def test_a_changed_list_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server, monkeypatch, {"list.txt": b"0:one"})
    path = published_vocabularies() / "list.txt"
    path.write_text("0:two")
    with pytest.raises(DownloadError, match=r"list\.txt is not the published list; delete it"):
        published_vocabularies()
    path.unlink()
    next(iter(server.files.values())).content = b"0:two"
    with pytest.raises(DownloadError, match=r"its SHA256 is .*; fetch it by hand from http"):
        published_vocabularies()


def test_other_folders_are_taken_as_they_are() -> None:
    assert vocabulary_folder("some/folder") == Path("some/folder")


def test_the_addresses_are_pinned_to_a_commit() -> None:
    assert len(description()["commit"]) == 40
    assert len(description()["sha256"]) == 10


@needs_shared
def test_the_digests_are_those_of_the_published_files() -> None:
    for name, digest in description()["sha256"].items():
        assert hashlib.sha256((LISTS / name).read_bytes()).hexdigest() == digest


@needs_shared
@pytest.mark.parametrize("dataset", SEEN)
def test_seen_classes_with_the_published_lists(dataset: str) -> None:
    training = Vocabulary.from_metadata(MetadataCatalog.get(TRAINING), LISTS)
    flags = Vocabulary.from_metadata(MetadataCatalog.get(dataset), LISTS).seen_in(training)
    assert (sum(flags), len(flags)) == SEEN[dataset]
