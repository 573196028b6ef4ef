"""Nothing goes out unless a name asks for it: the commands run on what comes along, with sockets forbidden."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY

# As the command `fcclip`, in a process in which no connection can be made and no name be looked up.
WITHOUT_NETWORK = """
import socket, sys

def forbidden(*arguments, **options):
    print("TRIED", arguments[1:] or arguments, file=sys.stderr)
    raise OSError("no network here")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, forbidden)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, forbidden)

sys.argv = ["fcclip", *sys.argv[1:]]
from fcclip.__main__ import main
sys.exit(main())
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, *words],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(folder), "FCCLIP_CACHE": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("model", ["panoshapes", "panoshapes_mask_adapter", "zegclip_small"])
def test_segmenting_with_what_comes_along_needs_no_network(tmp_path: Path, model: str) -> None:
    from fcclip.data.panoshapes.__main__ import main as render

    render([str(tmp_path / "scene.png"), "--seed", "4", "--width", "96", "--height", "96"])
    words = ("segment", "scene.png", "--model", model, "--output", "out.png", "--vocabulary", "red star; wood=stuff")
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "TRIED" not in done.stderr
    assert (tmp_path / "out.png").is_file()


@pytest.mark.parametrize("words", [("models",), ("data", "--list"), ("doctor",)])
def test_lists_need_no_network(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "TRIED" not in run(tmp_path, *words).stderr


def test_a_name_that_asks_for_a_download_tries_one(tmp_path: Path) -> None:
    """The test can tell: the connection that a download needs is seen, and its failure is one sentence."""
    done = run(tmp_path, "models", "fcclip_r50", "--fetch")
    assert "TRIED" in done.stderr
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
