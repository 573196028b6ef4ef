"""A source and a target in a bucket, of a real server on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("s3fs")
pytest.importorskip("moto")

import boto3
import fsspec
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer

from fcclip.batch.store import Store
from tests.batch.sources import image_bytes, predict, write_images

BUCKET = "pictures"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an empty bucket; s3fs and boto3 find its server by the environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    server.stop()


def test_from_a_bucket_into_a_bucket(bucket: str, tmp_path: Path) -> None:
    fs = fsspec.filesystem("s3")
    for number in range(5):
        content = image_bytes(number) if number != 2 else b"damaged"
        fs.pipe_file(f"{BUCKET}/in/{number % 2}/{number}.png", content)
    source, target = f"{bucket}/in", f"{bucket}/out"
    words = ("--shard-size", "2", "--merge")
    assert predict(source, target, tmp_path, *words) == 1
    store = Store(target)
    counts = store.read_json("manifest.json") or {}
    assert [counts[name] for name in ("total", "done", "failed", "skipped")] == [5, 4, 1, 0]
    rows = pq.read_table("pictures/out/index.parquet", filesystem=fs).to_pylist()
    assert sorted(row["id"] for row in rows) == ["0/0.png", "0/2.png", "0/4.png", "1/1.png", "1/3.png"]
    assert rows[0]["path"].startswith("s3://pictures/in/")
    assert len(json.loads(store.read("panoptic.json") or b"")["annotations"]) == 4
    assert store.read("panoptic/0/4.png")

    store.remove("index.parquet/00000001-000000-000002.parquet")
    fs.pipe_file(f"{BUCKET}/in/0/2.png", image_bytes(2))
    assert predict(source, target, tmp_path, *words, "--retry-failed") == 1, "one part is still missing"
    assert predict(source, target, tmp_path, *words) == 0
    assert len(json.loads(store.read("panoptic.json") or b"")["annotations"]) == 5


def test_results_equal_those_on_this_machine(bucket: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", 2)
    assert predict(folder, tmp_path / "out", tmp_path) == 0
    assert predict(folder, f"{bucket}/same", tmp_path) == 0
    store = Store(f"{bucket}/same")
    for suffix in ("json", "tar"):
        name = f"shards/00000000-000000-000002.{suffix}"
        assert store.read(name) == (tmp_path / "out" / name).read_bytes()


def test_a_bucket_that_is_not_there(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "in", 1)
    assert predict(folder, "s3://nobodys-bucket/out", tmp_path) == 1
    assert "nothing can be written to s3://nobodys-bucket/out" in capsys.readouterr().err


def test_elsewhere_a_file_is_renamed_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"file://{tmp_path}")
    monkeypatch.setattr(store, "is_local", False)  # as sftp, which has no put that is atomic
    store.write("a/b.txt", b"1")
    store.put("a/c.txt", tmp_path / "a" / "b.txt")
    assert store.names("a") == ["b.txt", "c.txt"]
    assert store.read("a/c.txt") == b"1"

    def fail(path: str, content: bytes) -> None:
        Path(path).write_bytes(content[:1])
        raise OSError("the connection was lost")

    monkeypatch.setattr(store.fs, "pipe_file", fail)
    with pytest.raises(OSError, match="connection was lost"):
        store.write("a/b.txt", b"2")
    assert store.read("a/b.txt") == b"1"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.txt", "c.txt"]


def test_a_damaged_file_of_the_target(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json is damaged .*; delete it"):
        Store(str(tmp_path)).read_json("manifest.json")
