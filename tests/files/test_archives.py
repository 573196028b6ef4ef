"""Archives are unpacked into one folder; links, devices and names that lead out of it are refused."""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcclip.files import archives, transfer
from fcclip.files.archives import ArchiveError, unpack
from fcclip.files.transfer import DiskFullError

FILES = {"top/one.txt": b"one", "top/sub/two.txt": b"two" * 1000}
CLUTTER = {"__MACOSX/top/._one.txt": b"", "top/.DS_Store": b"x"}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        return write_zip(path, files)
    return write_tar(path, files, "w:gz" if path.suffix == ".tgz" else "w")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_files_are_unpacked_and_clutter_left_out(tmp_path: Path, suffix: str) -> None:
    archive = write(tmp_path / f"archive{suffix}", FILES | CLUTTER)
    assert unpack(archive, tmp_path / "out") == 2
    assert content(tmp_path / "out") == FILES
    assert unpack(archive, tmp_path / "stripped", strip="top") == 2
    assert content(tmp_path / "stripped") == {"one.txt": b"one", "sub/two.txt": b"two" * 1000}
    assert unpack(archive, tmp_path / "none", strip="other") == 0


def test_whole_files_are_kept_and_others_written_anew(tmp_path: Path) -> None:
    archive = write(tmp_path / "archive.zip", FILES)
    unpack(archive, tmp_path)
    (tmp_path / "top/one.txt").write_bytes(b"ONE")
    (tmp_path / "top/sub/two.txt").write_bytes(b"two")
    unpack(archive, tmp_path)
    assert (tmp_path / "top/one.txt").read_bytes() == b"ONE"
    assert (tmp_path / "top/sub/two.txt").read_bytes() == FILES["top/sub/two.txt"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "C:/out.txt", "a\\..\\out.txt"])
def test_names_that_lead_out_are_refused(tmp_path: Path, suffix: str, name: str) -> None:
    archive = write(tmp_path / f"archive{suffix}", {name: b"x"})
    with pytest.raises(ArchiveError, match="leads out of the folder, which no dataset needs"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("out.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match='"link" in it is a link or a device'):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "link").exists()


def test_links_in_zip_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="is a link or a device"):
        unpack(path, tmp_path / "out")


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive.zip", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag, in the list of files at the end
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"top/one\.txt.* is encrypted"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_damaged_archives_are_told(tmp_path: Path, suffix: str) -> None:
    archive = write(tmp_path / f"archive{suffix}", {"noise": bytes(range(256)) * 400, **FILES})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArchiveError, match="delete it and fetch it again"):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(b"<html>")
    with pytest.raises(ArchiveError, match="neither a zip nor a tar file"):
        unpack(archive, tmp_path / "out")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match=r"archive\.zip needs 3 kB"):
        unpack(write(tmp_path / "archive.zip", FILES), tmp_path / "out")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "shutil", SimpleNamespace(copyfileobj=fail))
    with pytest.raises(DiskFullError, match="is full"):
        unpack(write(tmp_path / "archive.tar", FILES), tmp_path / "out")
    assert shutil.copyfileobj is not fail
    assert content(tmp_path / "out") == {}
