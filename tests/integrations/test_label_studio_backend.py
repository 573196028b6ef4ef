"""The backend for Label Studio: over HTTP, with the requests that Label Studio sends."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from tests.integrations.scripts import NAMES, STUFF, load_script, scene, segmenter

script = load_script("label_studio_backend")
KEY = "secret"


def config(kind: str = "BrushLabels", names: tuple[str, ...] = NAMES) -> str:
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    return (
        f'<View><Image name="picture" value="$photo"/><{kind} name="tag" toName="picture">{labels}</{kind}>'
        '<TextArea name="prompt" toName="picture"/></View>'
    )


def encode(image: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


class LabelStudio(BaseHTTPRequestHandler):
    """Gives a picture to those who have the key, and sends others elsewhere."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/")
            self.end_headers()
            return
        allowed = self.headers.get("Authorization") in (f"Token {KEY}", "Bearer short-lived")
        self.send_response(200 if allowed else 401)
        self.end_headers()
        if allowed:
            self.wfile.write(encode(scene()))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = self.path == "/api/token/refresh" and asked == {"refresh": "a.personal.token"}
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(b'{"access": "short-lived"}')

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Addresses of a backend and of the Label Studio that it works for."""
    studio = HTTPServer(("127.0.0.1", 0), LabelStudio)
    studio_url = f"http://127.0.0.1:{studio.server_port}"
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "scene.png").write_bytes(encode(scene()))
    (tmp_path / "outside.png").write_bytes(encode(scene()))
    pictures = script.Pictures(studio_url, KEY, tmp_path / "files")
    server = script.make_server(script.Backend(segmenter(), pictures, STUFF), "127.0.0.1", 0)
    threads = [threading.Thread(target=each.serve_forever, args=(0.01,)) for each in (studio, server)]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{server.server_port}", studio_url
    for each in (studio, server):
        each.shutdown()
        each.server_close()
    for thread in threads:
        thread.join()


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{url}{path}", data, {"Content-Type": "application/json"}), timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def predict(url: str, label_config: str, address: str, **params: Any) -> dict[str, Any]:
    body = {"tasks": [{"id": 1, "data": {"photo": address}}], "label_config": label_config, "params": params}
    (result,) = ask(url, "/predict", body)["results"]
    return result


def test_health_and_setup(addresses: tuple[str, str]) -> None:
    url, _ = addresses
    assert ask(url, "/health")["status"] == "UP"
    assert ask(url, "/setup", {"project": "1.1", "schema": config()}) == {"model_version": "fcclip"}
    with pytest.raises(HTTPError) as caught:
        ask(url, "/setup", {"schema": "<View><Image name='a' value='$a'/></View>"})
    assert "BrushLabels or PolygonLabels" in caught.value.read().decode()
    assert ask(url, "/webhook", {"action": "ANNOTATION_CREATED"}) == {"status": "nothing is trained here"}
    with pytest.raises(HTTPError, match="404"):
        ask(url, "/nothing")


@pytest.mark.parametrize("kind", ["BrushLabels", "PolygonLabels"])
@pytest.mark.parametrize("where", ["fetched", "local", "inline"])
def test_the_labels_of_the_project_are_found(addresses: tuple[str, str], kind: str, where: str) -> None:
    url, _ = addresses
    inline = "data:image/png;base64," + base64.b64encode(encode(scene())).decode()
    place = {"fetched": "/data/upload/1/scene.png", "local": "/data/local-files/?d=scene.png", "inline": inline}[where]
    found = predict(url, config(kind), place)
    expected = segmenter().predict(scene()).above(0.5)
    regions = found["result"]
    assert {region["value"][kind.lower()][0] for region in regions} == set(expected.names())
    assert {(region["from_name"], region["to_name"], region["type"]) for region in regions} == {
        ("tag", "picture", kind.lower())
    }
    assert 0.5 <= found["score"] <= 1


def test_a_prompt_is_looked_for_instead(addresses: tuple[str, str]) -> None:
    url, _ = addresses
    written = [
        {"type": "textarea", "from_name": "prompt", "value": {"text": ["purple heart; snow=stuff; gravel=stuff"]}}
    ]
    labels = config(names=("thing", "snow"))
    found = predict(url, labels, "/data/upload/1/scene.png", context={"result": written})
    labelled = {
        (region["value"]["brushlabels"][0], *region.get("meta", {}).get("text", [])) for region in found["result"]
    }
    assert ("thing", "purple heart") in labelled
    assert ("snow",) in labelled


def test_pictures_come_from_label_studio_only(addresses: tuple[str, str]) -> None:
    url, studio = addresses
    for address, message in (
        ("http://example.invalid/a.png", "fetched from nowhere else"),
        (f"{studio}.example.invalid/a.png", "fetched from nowhere else"),
        ("file:///etc/hostname", "fetched from nowhere else"),
        ("/data/local-files/?d=../outside.png", "is outside of"),
        ("/data/local-files/?d=nothing.png", "does not exist"),
        ("/moved", "302"),
        ("data:image/png;base64,AAAA", "cannot be read"),
    ):
        with pytest.raises(HTTPError) as caught:
            predict(url, config(), address)
        assert caught.value.code == 400
        assert message in caught.value.read().decode()


def test_personal_tokens_are_exchanged(addresses: tuple[str, str]) -> None:
    _, studio = addresses
    found = script.Pictures(studio, "a.personal.token").read("/data/upload/1/scene.png")
    assert np.array_equal(found, scene())
    with pytest.raises(OSError, match="401"):
        script.Pictures(studio, "another.personal.token").read("/data/upload/1/scene.png")
    with pytest.raises(OSError, match="401"):
        script.Pictures(studio).read("/data/upload/1/scene.png")


def test_requests_that_are_none(addresses: tuple[str, str]) -> None:
    url, _ = addresses
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(f"{url}/predict", b"[1]"), timeout=10)
    assert "not a JSON object" in caught.value.read().decode()
    with pytest.raises(HTTPError) as caught:
        ask(url, "/predict", {"tasks": [{"data": {}}], "label_config": config()})
    assert "a task has no" in caught.value.read().decode()


def test_configuration_is_read() -> None:
    xml = (
        '<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">'
        '<Label value="cat" predicted_values="kitten, tabby"/><Label value="sky"/></PolygonLabels></View>'
    )
    project = script.read_project(xml, ["sky"])
    assert (project.shape, project.from_name, project.to_name, project.field) == ("polygon", "label", "image", "image")
    assert [category.names for category in project.classes] == [("cat", "kitten", "tabby"), ("sky",)]
    assert [category.is_thing for category in project.classes] == [True, False]
    with pytest.raises(ValueError, match="not XML"):
        script.read_project("{}")


def test_the_sdk_accepts_the_predictions(addresses: tuple[str, str]) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="the SDK is an independent judge")
    url, _ = addresses
    found = predict(url, config(), "/data/upload/1/scene.png")
    assert interface.LabelInterface(config()).validate_prediction(found, return_errors=True) == []
