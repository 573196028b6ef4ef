import io
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fcclip.commands import serve
from fcclip.serving.http import ServerLimits, build_app
from fcclip.serving.models import Models
from fcclip.serving.sessions import Sessions
from tests.serving.conftest import picture


@pytest.fixture(scope="module")
def sessions(models: Models) -> Sessions:
    return Sessions(models)


@pytest.fixture(scope="module")
def client(sessions: Sessions) -> Iterator[TestClient]:
    app = build_app(sessions, "1.2", ServerLimits(upload=100_000), root_path="/segment")
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


def post(client: TestClient, seed: int = 0, **fields: str) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, "PNG")
    return client.post("/predict", files={"picture": ("a.png", buffer.getvalue())}, data={"names": "cat", **fields})


def test_answers_are_those_of_the_model(client: TestClient, models: Models) -> None:
    for model in ("first", "second"):
        found = models.get(model).predict(picture(0), vocabulary="cat; dog").to_dict(masks=True)
        reply = post(client, names="cat; dog", model=model)
        assert reply.status_code == 200
        assert (reply.json()["model"], reply.json()["segments"]) == (model, found["segments"])


def test_a_picture_that_is_sent_again_is_not_encoded_again(
    client: TestClient, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post(client, seed=5, model="first").status_code == 200
    monkeypatch.setattr(models.get("first"), "encode", None)  # must not be called again
    assert post(client, seed=5, model="first", names="dog").json()["names"] == ["dog"]


def test_a_failure_of_the_program_is_one_sentence_without_its_inside(
    client: TestClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(key: str) -> None:
        raise RuntimeError("/a/secret/path")

    monkeypatch.setattr(sessions, "get", fails)
    reply = post(client)
    assert reply.status_code == 500
    assert reply.json() == {"error": "the server failed; its log says why"}


def test_a_form_that_lacks_something_is_told_what(client: TestClient) -> None:
    reply = client.post("/predict", data={"names": "cat"})
    assert reply.status_code == 422
    assert reply.json()["error"].startswith('the form lacks "picture"; send a picture and names, as in: curl ')


def test_the_schema_has_every_answer_and_refusal(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    responses = schema["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "404", "408", "413", "415", "422", "503"}
    assert set(responses["200"]["content"]) >= {"application/json", "image/png", "application/zip"}
    assert schema["info"]["version"] == "1.2"
    assert client.get("/docs").status_code == 404


def test_health_tells_what_is_kept(client: TestClient, sessions: Sessions) -> None:
    post(client, seed=9)
    health = client.get("/health").json()
    assert health["ready"]
    assert health["models"] == ["first", "second"]
    assert health["sessions"] == len(sessions) > 0
    assert health["session_bytes"] == sessions.nbytes


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [("--keep-models", "0", "--keep-models"), ("--queue", "-1", "--queue"), ("--keep-models", "two", "--keep-models")],
)
def test_numbers_that_make_no_server_are_told_at_once(
    capsys: pytest.CaptureFixture[str], flag: str, value: str, sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["--model", "panoshapes", flag, value])
    assert ended.value.code == 2
    assert f"argument {sentence}: " in capsys.readouterr().err
