"""Google Drive's pages, gone through by gdown with a stand-in for the transport; sources as data files name them."""

from functools import partial
from pathlib import Path

import gdown
import pytest

from fcclip.files import sources, transfer
from fcclip.files.download import DownloadError, download
from fcclip.files.sources import DriveSource, HandSource, HubSource, WebSource, read_source
from tests.files.drive import Drive, replace_transport

CONTENT = bytes(range(256)) * 8192  # two megabytes
SOURCE = DriveSource("1-91PIns86vyNaL3CzMmDD39zKGnPMtvj")


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drive:
    drive = Drive(CONTENT)
    replace_transport(monkeypatch, drive)
    monkeypatch.setattr("gdown.download", partial(gdown.download, use_cookies=False))  # none in the home folder
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    return drive


def test_the_confirmation_page_is_gone_through(drive: Drive, tmp_path: Path) -> None:
    target = tmp_path / "model.pth"
    assert download(target, [SOURCE]).read_bytes() == CONTENT
    assert drive.ranges == [None]
    assert not list(tmp_path.glob(".*.drive*"))


def test_an_interrupted_transfer_is_resumed(drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.pth"
    drive.cuts = [1_000_000, len(CONTENT), 1_600_000]  # before it resumes, gdown asks for the whole
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "TRIES", 1)
        with pytest.raises(DownloadError, match=r"cut the connection; fetch it by hand from .*/file/d/1-91PI.*/view"):
            download(target, [SOURCE])
    assert not target.exists()
    assert download(target, [SOURCE]).read_bytes() == CONTENT
    assert len([wanted for wanted in drive.ranges if wanted]) == 2
    assert not list(tmp_path.glob(".*.drive*"))


def test_the_quota_page_and_no_network_are_told(drive: Drive, tmp_path: Path) -> None:
    target = tmp_path / "model.pth"
    drive.over_quota = True
    with pytest.raises(DownloadError, match=r"too many people have fetched it today.* save it as .*model\.pth$"):
        download(target, [SOURCE])
    drive.offline = True
    with pytest.raises(DownloadError, match="Google Drive cannot be reached"):
        download(target, [SOURCE])
    assert not target.exists()


def test_sources_are_read_from_data() -> None:
    assert read_source({"kind": "google-drive", "id": "x"}) == DriveSource("x")
    assert read_source({"kind": "hugging-face", "repository": "a/b", "file": "c"}) == HubSource("a/b", "c")
    assert read_source({"kind": "web", "url": "https://x", "page": "y"}) == WebSource("https://x", "y")
    assert read_source({"kind": "by-hand", "where": "there"}) == HandSource("there")
    with pytest.raises(ValueError, match='of the kind "pigeon"'):
        read_source({"kind": "pigeon"})


def test_the_hub_s_own_variable_moves_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert sources.HubSource("a/b", "c.pth").address == "https://mirror.example/a/b/resolve/main/c.pth"
