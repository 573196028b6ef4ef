"""`fcclip serve` as a process on loopback, asked as programs, browsers and proxies ask."""

import http.client
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio", reason="gradio is not installed")

import requests
from PIL import Image

from fcclip.commands import serve
from fcclip.formats.names import FORMATS
from tests.tiny import REPOSITORY
from tools.load_test_page import LEAST_TURNS, NAMES, ByHttp, ByPage, Way, load, scene, serving


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving("--max-upload", "1", "--max-pixels", "100000", "--root-path", "/segment/") as (found, _):
        yield found.removesuffix("/segment")


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def post(address: str, picture: bytes | None = None, name: str = "scene.png", **fields: str) -> requests.Response:
    content = png() if picture is None else picture
    fields.setdefault("names", NAMES[0])
    return requests.post(f"{address}/predict", files={"picture": (name, content)}, data=fields, timeout=60)


@pytest.mark.parametrize("way", [ByHttp, ByPage])
def test_people_at_once_get_their_own_answers(address: str, way: type[Way]) -> None:
    tally = load(address, 8, 0, way)
    assert not tally.errors
    assert tally.mixed == 0
    assert len(tally.first) == 8
    assert len(tally.changed) == 8 * (LEAST_TURNS - 1)


def test_the_record_says_what_was_asked_and_found(address: str) -> None:
    record = post(address).json()
    assert record["model"] == "panoshapes"
    assert record["names"][0] == "red star"
    assert (record["height"], record["width"]) == scene(0).shape[:2]
    assert {"name", "score", "area", "box", "mask"} <= set(record["segments"][0])
    assert "instances" not in record
    assert set(post(address, task="instance").json()) & {"segments", "instances", "semantic"} == {"instances"}


def test_answers_come_in_every_format(address: str) -> None:
    for form in FORMATS:
        reply = post(address, name="../../etc/my scene.jpg", format=form)
        if form in ("cityscapes-ids", "ade20k-ids"):  # for their own classes only
            assert reply.status_code in (200, 422), reply.text
            continue
        assert reply.status_code == 200, reply.text
        assert "/" not in reply.headers["content-disposition"]
        if reply.headers["content-type"] == "application/zip":
            assert zipfile.ZipFile(io.BytesIO(reply.content)).namelist()
    assert post(address, name="../../a b.jpg", format="labelme").json()["imagePath"] == "a_b.jpg"
    assert Image.open(io.BytesIO(post(address, format="png").content)).size == (192, 192)


@pytest.mark.parametrize(
    ("status", "sentence", "picture", "fields"),
    [
        (415, "not a readable image", b"no picture", {}),
        (415, "not a readable image", png()[:200], {}),
        (413, "at most 1 MB are taken", bytes(2_100_000), {}),
        (422, 'the form lacks "names"', None, {"names": ""}),
        (422, "given twice", None, {"names": "cat; cat"}),
        (422, "the name of a file", None, {"names": "passwd.txt"}),
        (422, 'the field "format" is wrong', None, {"format": "exe"}),
        (404, "there is no model", None, {"model": "/etc/passwd"}),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(
    address: str, status: int, sentence: str, picture: bytes | None, fields: dict[str, str]
) -> None:
    reply = post(address, picture, **fields)
    assert reply.status_code == status
    assert set(reply.json()) == {"error"}
    assert sentence in reply.json()["error"]
    assert "Traceback" not in reply.text


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(address: str) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 3_000)).save(buffer, "PNG")
    reply = post(address, buffer.getvalue())
    assert reply.status_code == 413
    assert "20000x3000 pixels, more than the 100,000" in reply.json()["error"]


def test_an_upload_without_a_length_is_cut_off_while_it_streams(address: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        while sent < 2_500_000:
            sent += 50_000
            yield bytes(50_000)

    reply = requests.post(
        f"{address}/predict",
        data=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert reply.status_code == 413


def test_health_models_schema_and_no_pages_with_scripts_from_elsewhere(address: str) -> None:
    health = requests.get(f"{address}/health", timeout=60).json()
    assert health["ready"] is True
    assert health["loaded"] == ["panoshapes"]
    assert requests.get(f"{address}/models", timeout=60).json() == [
        {"name": "panoshapes", "loaded": True, "default": True}
    ]
    schema = requests.get(f"{address}/openapi.json", timeout=60).json()
    assert {"/predict", "/health", "/models"} <= set(schema["paths"])
    page = requests.get(f"{address}/", timeout=60)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "cdn.jsdelivr" not in requests.get(f"{address}/docs", timeout=60).text


def test_it_works_behind_a_proxy_that_takes_the_prefix_away(address: str) -> None:
    target = urlsplit(address)

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            connection = http.client.HTTPConnection(target.hostname or "", target.port or 0)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {**dict(self.headers), "X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org"}
            connection.request(self.command, self.path.removeprefix("/segment"), body, headers)
            reply = connection.getresponse()
            content = reply.read()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = forward

        def log_message(self, *words: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        outside = f"http://127.0.0.1:{proxy.server_port}/segment"
        assert post(outside).json()["segments"]
        assert requests.get(f"{outside}/openapi.json", timeout=60).json()["servers"] == [{"url": "/segment"}]
        assert "/segment" in requests.get(f"{outside}/", timeout=60).text
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def test_the_examples_of_the_documentation_run(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scene.png").write_bytes(png(3))
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "serving.md").read_text().replace("http://127.0.0.1:7860", address)
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "serving.md", "exec"), {})
    assert "grass" in capsys.readouterr().out
    [commands] = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    if shutil.which("curl"):
        first, second = commands.strip().splitlines()
        record = json.loads(subprocess.check_output(first.replace("curl", "curl -s"), shell=True))
        assert record["names"] == ["red star", "purple heart", "grass"]  # and none of them is an option of curl's
        assert record["segments"]
        subprocess.check_call(second.replace("curl", "curl -s"), shell=True)
        assert json.loads((tmp_path / "scene.json").read_text())["shapes"]


def test_the_flags_of_the_documentation_are_those_there_are() -> None:
    help = serve.build_parser().format_help()
    documented = set(re.findall(r"`(--[a-z-]+)", (REPOSITORY / "docs" / "serving.md").read_text()))
    assert {"--queue", "--max-upload", "--trusted-proxies"} <= documented
    assert all(flag in help for flag in documented - {"--user"})


def test_it_ends_at_once_when_it_is_told_to() -> None:
    command = [sys.executable, "-m", "fcclip", "serve", "--model", "panoshapes", "--port", "0", "--no-page"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "fcclip serves panoshapes at http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == "fcclip has ended\n"
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.main(["--model", "panoshapes", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert f"cannot serve at 127.0.0.1, port {port}" in error
    assert len(error.splitlines()) == 1


def test_a_missing_extra_is_told_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "NEEDED", ("surely_not_installed",))
    assert serve.main(["--model", "panoshapes", "--port", "0"]) == 1
    assert 'pip install "fcclip[demo]"' in capsys.readouterr().err
