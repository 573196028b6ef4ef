"""Downloads are resumed, checked, renamed into place, and explained when they fail: from servers on this machine."""

import errno
import hashlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fcclip.files import transfer
from fcclip.files.download import DownloadError, download, record_file, verify
from fcclip.files.sources import Expected, HandSource, HubSource, WebSource
from fcclip.files.transfer import CHUNK
from tests.files.servers import Served, Server

CONTENT = bytes(range(256)) * 4000  # a megabyte
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Expected(len(CONTENT), f"sha256:{DIGEST}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with Server().running() as running:
        running.files["/file.pth"] = Served(CONTENT)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "file.pth"


def web(server: Server, path: str = "/file.pth") -> list[WebSource]:
    return [WebSource(server.url + path)]


def leftovers(target: Path) -> list[str]:
    """What a download leaves besides the file, its record and the lock."""
    known = {target.name, record_file(target).name, f".{target.name}.lock"}
    return sorted(path.name for path in target.parent.iterdir() if path.name not in known)


def test_a_file_is_fetched_once_and_its_digest_is_recorded(server: Server, target: Path) -> None:
    for _ in range(2):
        assert download(target, web(server)).read_bytes() == CONTENT
    assert len(server.gets()) == 1
    assert record_file(target).read_text() == f"{DIGEST}  file.pth\n"
    assert leftovers(target) == []


def test_a_cut_connection_is_resumed_where_it_was_cut(server: Server, target: Path) -> None:
    server.files["/file.pth"].cuts = [4 * CHUNK, 2 * CHUNK]
    assert download(target, web(server), KNOWN).read_bytes() == CONTENT
    asked = [request.headers.get("Range") for request in server.gets()]
    assert asked == [None, f"bytes={4 * CHUNK}-", f"bytes={6 * CHUNK}-"]


def test_an_interrupted_run_is_resumed_by_the_next_one(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.files["/file.pth"].cuts = [4 * CHUNK]
    with pytest.raises(DownloadError, match="the connection was cut; fetch it by hand from"):
        download(target, web(server), KNOWN)
    assert not target.exists()
    download(target, web(server), KNOWN)
    assert server.gets()[-1].headers["Range"] == f"bytes={4 * CHUNK}-"
    assert leftovers(target) == []


@pytest.mark.parametrize("change", ["no ranges", "another file", "no validator"])
def test_what_cannot_be_resumed_is_fetched_anew(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    served = server.files["/file.pth"]
    served.cuts = [4 * CHUNK]
    if change == "no validator":
        served.etag = ""
    with pytest.raises(DownloadError):
        download(target, web(server))
    if change == "no ranges":
        served.ranges = False
    elif change == "another file":
        served.content, served.etag = CONTENT[::-1], '"second"'
    assert download(target, web(server)).read_bytes() == served.content


def test_a_partial_file_longer_than_the_file_is_fetched_anew(server: Server, target: Path) -> None:
    target.parent.mkdir()
    partial = target.with_name(".file.pth.part")
    partial.write_bytes(CONTENT + b"more")
    partial.with_name(".file.pth.part.from").write_text(f'{server.url}/file.pth\n"first"\n')
    assert download(target, web(server)).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_another_source_tried(server: Server, target: Path) -> None:
    server.files["/file.pth"].failures = [503, 429, 500]
    download(target, web(server), KNOWN)
    target.unlink()
    assert download(target, [*web(server, "/gone"), *web(server)], KNOWN).read_bytes() == CONTENT


def test_refusals_say_what_to_do(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DownloadError, match=r"answers 404 .*; fetch it by hand from .*/gone and save it as .*file.pth$"
    ):
        download(target, web(server, "/gone"))
    monkeypatch.setattr(transfer, "TRIES", 2)
    server.files["/file.pth"].failures = [503, 503]
    with pytest.raises(DownloadError, match="answers 503"):
        download(target, web(server))
    with pytest.raises(DownloadError, match="no program can fetch it; fetch it by hand from the moon and save it as"):
        download(target, [HandSource("the moon")])
    with pytest.raises(DownloadError, match=r"127.0.0.1:1 cannot be reached \(is there a network\?\)"):
        download(target, [WebSource("http://127.0.0.1:1/file.pth")])
    assert not target.exists()


def test_pages_of_html_are_no_files(server: Server, target: Path) -> None:
    page = b"<!DOCTYPE html><html><body>Quota exceeded</body></html>"
    server.files["/page"] = Served(page, kind="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="sends a page of HTML instead of the file"):
        download(target, web(server, "/page"))
    server.files["/page"] = Served(page)
    with pytest.raises(DownloadError, match="sent a page of HTML instead of it"):
        download(target, web(server, "/page"))
    target.write_bytes(page)
    with pytest.raises(DownloadError, match="it is a page of HTML; delete it"):
        download(target, web(server))


def test_short_wrong_and_empty_files_are_refused(
    server: Server, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DownloadError, match=r"it has 1024000 bytes \(1 MB\) and not 7 \(7 B\)"):
        download(target, web(server), Expected(size=7))
    with pytest.raises(DownloadError, match="its SHA256 is .* and not 00: it was damaged"):
        download(target, web(server), Expected(digest="sha256:00"))
    with pytest.raises(DownloadError, match="its MD5 is"):
        download(target, web(server), Expected(digest="md5:00"))
    assert leftovers(target) == []
    assert download(target, web(server), Expected(digest="sha256:00", is_certain=False)) == target
    assert "from a third party" in caplog.text
    target.write_bytes(b"")
    with pytest.raises(DownloadError, match="it is empty; delete it"):
        download(target, web(server))


def test_a_file_that_changed_since_the_first_download_is_refused(server: Server, target: Path) -> None:
    download(target, web(server))
    target.unlink()
    server.files["/file.pth"].content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=f"not the {DIGEST} of the last time"):
        download(target, web(server))
    record_file(target).unlink()
    assert download(target, web(server)).read_bytes() == CONTENT[::-1]
    assert verify(target, Expected()) is None
    assert "its SHA256 is" in str(verify(target, KNOWN))
    target.write_bytes(CONTENT)
    assert "of the last time" in str(verify(target, Expected()))


def test_a_full_disk_is_told(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=1_050_000)
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(DownloadError, match=r"needs 1 MB and .* has 1 MB free; make room"):
            download(target, web(server))
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "tqdm", FullDisk)
        with pytest.raises(DownloadError, match=r"the disk of .* is full; make room"):
            download(target, web(server))
    assert not target.exists()
    assert download(target, web(server)).read_bytes() == CONTENT


class FullDisk:
    """In the place of the progress bar: raises what writing to a full disk raises."""

    def __init__(self, **_: Any) -> None: ...

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, _: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(server: Server, target: Path) -> None:
    target.parent.mkdir(mode=0o500)
    with pytest.raises(DownloadError, match="choose a folder that you may write to"):
        download(target, web(server))


def test_a_file_in_place_of_the_folder_is_told(server: Server, target: Path) -> None:
    target.parent.touch()
    with pytest.raises(DownloadError, match="choose a folder that you may write to"):
        download(target, web(server))


def test_two_processes_fetch_a_file_once(server: Server, target: Path) -> None:
    served = server.files["/file.pth"]
    served.wait = threading.Event()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=download, args=(target, web(server))) for _ in range(2)]
    for process in processes:
        process.start()
    while not server.requests:
        assert any(process.is_alive() for process in processes)
        time.sleep(0.01)
    assert not target.exists()
    served.wait.set()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(server.gets()) == 1
    assert target.read_bytes() == CONTENT


def test_the_hub_tells_size_and_digest(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    source = HubSource("someone/models", "file.pth")
    server.files["/file.pth"].cuts = [4 * CHUNK]
    server.files["/file.pth"].failures = [503]
    assert download(target, [source]).read_bytes() == CONTENT
    heads = [request for request in server.requests if request.method == "HEAD"]
    assert heads[-1].path == "/someone/models/resolve/main/file.pth"
    assert heads[-1].headers["authorization"] == "Bearer hf_secret"
    assert not any("authorization" in {key.lower() for key in get.headers} for get in server.gets())
    target.unlink()
    server.linked_digest = "0" * 64
    with pytest.raises(DownloadError, match="and not 0000"):
        download(target, [source])


def test_the_hub_s_refusals_are_told(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DownloadError, match=r"answers 404; fetch it by hand from .*/someone/models/resolve/main/gone.pth"
    ):
        download(target, [HubSource("someone/models", "gone.pth")])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match=r"cannot be reached \(is there a network\?\)"):
        download(target, [HubSource("someone/models", "file.pth")])


@pytest.mark.parametrize("fault", ["refuses", "goes on elsewhere"])
def test_a_server_that_cannot_go_on_is_asked_for_all_of_it(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    served = server.files["/file.pth"]
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "TRIES", 1)
        served.cuts = [4 * CHUNK]
        with pytest.raises(DownloadError, match="the connection was cut"):
            download(target, web(server))
    if fault == "refuses":
        served.failures = [416]
    else:
        served.shift = 7
    assert download(target, web(server)).read_bytes() == CONTENT
    assert [request.headers.get("Range") for request in server.gets()] == [None, f"bytes={4 * CHUNK}-", None]
    assert leftovers(target) == []
