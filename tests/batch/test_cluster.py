"""Ray: a worker is killed, then the driver; every image is there exactly once, as one process would have it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

from tests.batch.sources import NAMES, index, manifest, panoptic_pngs, predict, write_images
from tests.tiny import REPOSITORY, write_tiny_config

IMAGES = 60
PATIENCE = 240.0  # seconds; Ray starts slowly on a busy machine


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    words = [str(folder / "in"), "--output", str(folder / "ray"), "--vocabulary", NAMES, "--shard-size", "3"]
    words += ["--config-file", str(write_tiny_config(folder)), "--engine", "ray", "--workers", "2"]
    command = [sys.executable, str(REPOSITORY / "tools" / "predict.py"), *words]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def wait_for_parts(target: Path, count: int, run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(list((target / "index.parquet").glob("*.parquet"))) < count:
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def worker_of(target: Path) -> int:
    """The process that has written something."""
    return int(index(target)[0]["worker"].rpartition(":")[2])


def test_whoever_is_killed_every_image_is_there_once(tmp_path: Path) -> None:
    write_images(tmp_path / "in", IMAGES)
    target = tmp_path / "ray"
    first = start(tmp_path, tmp_path / "first.log")
    wait_for_parts(target, 2, first, tmp_path / "first.log")
    os.kill(worker_of(target), signal.SIGKILL)
    wait_for_parts(target, 6, first, tmp_path / "first.log")
    first.kill()
    first.wait()
    assert not (target / "manifest.json").exists(), "the driver was to be killed before its end"

    second = start(tmp_path, tmp_path / "second.log")
    assert second.wait(PATIENCE) == 0, (tmp_path / "second.log").read_text()
    counts = manifest(target)
    assert (counts["total"], counts["done"], counts["failed"]) == (IMAGES, IMAGES, 0)
    assert counts["run"]["images"] < IMAGES, "what was done before is not done again"
    ids = [row["id"] for row in index(target)]
    assert len(ids) == len(set(ids)) == IMAGES
    told = re.search(r"(\d+) images, (\d+) of them to do", (tmp_path / "second.log").read_text())
    assert told is not None
    assert int(told[2]) == counts["run"]["images"]
    assert not list(Path(tempfile.gettempdir()).glob(f"fcclip-*-*-{first.pid}-*")), "the next run tidies up"
    assert not list(Path(tempfile.gettempdir()).glob(f"fcclip-*-*-{second.pid}-*"))

    assert predict(tmp_path / "in", tmp_path / "local", tmp_path, "--shard-size", "3") == 0
    assert panoptic_pngs(target) == panoptic_pngs(tmp_path / "local")
