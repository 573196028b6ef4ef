"""A page that is mounted into an application opens no file and asks no address that a request names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gr = pytest.importorskip("gradio", reason="gradio is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="FastAPI's test client is not installed")

import fastapi  # noqa: E402

from fcclip.serving.closed import close_doors, keep_as_uploaded  # noqa: E402


@pytest.fixture
def client() -> Iterator[Any]:
    """A page that says which file it was given."""
    with gr.Blocks(analytics_enabled=False) as blocks:
        picture = gr.Image(type="filepath", image_mode=None)
        keep_as_uploaded(picture)
        picture.upload(lambda path: path, picture, gr.Textbox())
    blocks.queue()
    app = fastapi.FastAPI()
    gr.mount_gradio_app(app, blocks, "/", show_error=True, ssr_mode=False)
    close_doors(blocks)
    with testclient.TestClient(app) as client:
        yield client


def reply(client: Any, path: str) -> dict[str, Any]:
    """What the page answers to an upload that names `path`."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = {"data": [file], "fn_index": 0, "session_hash": "tab", "trigger_id": 1}
    assert client.post("/gradio_api/queue/join", json=call).status_code == 200
    lines = client.get("/gradio_api/queue/data", params={"session_hash": "tab"}).text.splitlines()
    messages = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    [done] = [message for message in messages if message["msg"] == "process_completed"]
    return done["output"]


def test_a_file_of_the_server_stays_closed(client: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_text("secret")
    assert "was not uploaded" in reply(client, str(secret))["error"]
    assert client.get(f"/gradio_api/file={secret}").status_code in (403, 404)
    assert client.get(f"/gradio_api/file={__file__}").status_code in (403, 404)


def test_an_address_is_not_asked(client: Any) -> None:
    said = reply(client, "http://192.0.2.1/picture.png")["error"]
    assert said == "pictures are uploaded, not fetched from an address"


def test_an_uploaded_file_comes_as_it_is(client: Any) -> None:
    [path] = client.post("/gradio_api/upload", files={"files": ("words.png", b"no picture")}).json()
    assert reply(client, path)["data"] == [path]
    assert Path(path).read_bytes() == b"no picture"
