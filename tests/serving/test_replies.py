"""What the page answers: every error is a sentence, and a picture is encoded once."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed")

import gradio as gr

from fcclip.serving.examples import EXAMPLES
from fcclip.serving.models import Models
from fcclip.serving.replies import EXPIRED, FAILED, GONE, NO_PICTURE, NOT_YET, Replies
from fcclip.serving.sessions import Limits, Sessions
from tests.serving.conftest import picture

TAB: Any = SimpleNamespace(session_hash="tab")
LOOK = ("panoptic", 0.7, 0.0, True, False, False)
NAMES = "cat; grass=stuff"


@pytest.fixture
def sessions(models: Models) -> Sessions:
    return Sessions(models, limits=Limits(pixels=5000, names=3))


@pytest.fixture
def path(tmp_path: Path) -> str:
    Image.fromarray(picture(0)).save(tmp_path / "a photo.png")
    return str(tmp_path / "a photo.png")


def last(steps: Iterator[tuple[Any, ...]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Result, note and status at the end of a run."""
    *_, (result, note, status) = steps
    return result, note, status


def is_skipped(reply: tuple[Any, ...]) -> bool:
    return all(isinstance(part, dict) and part == gr.skip() for part in reply)


def test_a_picture_is_encoded_once(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    steps = list(replies.run(TAB, 1, path, NAMES, "first", *LOOK))
    assert "Encoding the picture" in steps[0][2]["text"]
    result, note, status = steps[-1]
    assert result["rows"]
    assert note["text"] == "2 classes: cat; grass (stuff)"
    assert "to encode the picture" in status["text"]
    encoded = sessions.get("tab")._shown.encoded
    again = list(replies.run(TAB, 2, path, "dog", "first", *LOOK))
    assert len(again) == 1
    assert {row["name"] for row in again[0][0]["rows"]} <= {"dog"}
    assert again[0][2]["text"].endswith("from the encoded picture.")
    assert sessions.get("tab")._shown.encoded is encoded
    *_, (_, _, other) = replies.run(TAB, 3, path, "dog", "second", *LOOK)
    assert "to encode the picture" in other["text"], "another model has to look at it itself"


def test_looks_and_files_are_of_the_last_answer(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    assert replies.download("LabelMe")(TAB, 9, *LOOK)[1] == {"text": NOT_YET, "error": True}
    assert is_skipped(replies.redraw(TAB, 1, *LOOK))
    last(replies.run(TAB, 2, path, NAMES, "first", *LOOK))
    shown, _ = replies.redraw(TAB, 3, "semantic", *LOOK[1:])
    assert {row["name"] for row in shown["rows"]} <= {"cat", "grass"}
    file, status = replies.download("LabelMe")(TAB, 9, *LOOK)
    assert file["name"] == "a_photo_labelme.json"
    assert status["text"].startswith("a_photo_labelme.json is ready")
    sessions.close("tab")
    assert replies.redraw(TAB, 4, *LOOK)[1] == {"text": EXPIRED, "error": True}
    replies.leave(TAB)
    assert is_skipped(replies.redraw(TAB, 5, *LOOK))


@pytest.mark.parametrize("newer", ["names", "wrong names", "picture", "no picture", "example"])
def test_a_late_answer_takes_the_place_of_nothing(sessions: Sessions, path: str, newer: str) -> None:
    replies = Replies(sessions)
    early = replies.run(TAB, 1, path, NAMES, "first", *LOOK)
    assert "Encoding the picture" in next(early)[2]["text"]
    reply = {
        "names": lambda: last(replies.run(TAB, 2, path, "dog", "first", *LOOK)),
        "wrong names": lambda: last(replies.run(TAB, 2, path, "dog=rubbish", "first", *LOOK)),
        "picture": lambda: replies.check(TAB, 2, path),
        "no picture": lambda: replies.clear(TAB, 2),
        "example": lambda: replies.take(EXAMPLES[0])(TAB, 2),
    }[newer]()
    assert not is_skipped(reply)
    assert all(map(is_skipped, early))
    kept = replies.download("LabelMe")(TAB, 9, *LOOK)
    assert (kept[1]["text"] == NOT_YET) == (newer != "names")


def test_clicks_may_arrive_out_of_order(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    shown = last(replies.run(TAB, 5, path, NAMES, "first", *LOOK))
    assert not is_skipped(shown)
    assert all(map(is_skipped, replies.run(TAB, 4, path, "dog", "first", *LOOK)))
    assert all(map(is_skipped, replies.run(TAB, 3, path, "dog=rubbish", "first", *LOOK)))
    assert is_skipped(replies.check(TAB, 2, path))
    assert is_skipped(replies.clear(TAB, 1))
    assert replies.download("LabelMe")(TAB, 9, *LOOK)[0]["name"] == "a_photo_labelme.json"


def test_the_look_that_was_chosen_last_is_shown(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    early = replies.run(TAB, 1, path, NAMES, "first", *LOOK)
    next(early)
    assert is_skipped(replies.redraw(TAB, 2, "semantic", *LOOK[1:])), "there is no result yet"
    result, _, _ = last(early)
    assert result["caption"] == replies.redraw(TAB, 3, "semantic", *LOOK[1:])[0]["caption"]
    assert result["caption"] != replies.redraw(TAB, 4, *LOOK)[0]["caption"]
    assert is_skipped(replies.redraw(TAB, 3, "semantic", *LOOK[1:])), "it comes late"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"words", "A.png is not a readable image; take a PNG"), (None, GONE), (70, "has 70x80 pixels, more than the")],
)
def test_a_wrong_picture_is_a_sentence_without_a_folder(
    sessions: Sessions, tmp_path: Path, content: bytes | int | None, sentence: str
) -> None:
    wrong = tmp_path / "a.png"
    if isinstance(content, bytes):
        wrong.write_bytes(content)
    elif content is not None:
        Image.fromarray(picture(0, content + 10, content)).save(wrong)
    replies = Replies(sessions)
    for message in (
        replies.check(TAB, 1, str(wrong))[2],
        last(replies.run(TAB, 2, str(wrong), NAMES, "first", *LOOK))[2],
    ):
        assert message["error"]
        assert sentence in message["text"]
        assert str(tmp_path) not in message["text"]


def test_wrong_names_and_no_picture(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    for names, sentence in (("", "no names"), ("cat=rubbish", "=stuff or =thing"), ("a;b;c;d", "more than the 3")):
        _, note, _ = last(replies.run(TAB, 1, path, names, "first", *LOOK))
        assert note["error"]
        assert sentence in note["text"]
    assert last(replies.run(TAB, 2, None, NAMES, "first", *LOOK))[2] == {"text": NO_PICTURE, "error": True}
    assert "there is no model" in last(replies.run(TAB, 3, path, NAMES, "x", *LOOK))[2]["text"].lower()


def test_looks_that_the_page_does_not_have_are_a_sentence(sessions: Sessions, path: str) -> None:
    replies = Replies(sessions)
    wrong = ("panoptic", 7.0, *LOOK[2:])
    assert "opacity between 0 and 1" in last(replies.run(TAB, 1, path, NAMES, "first", *wrong))[2]["text"]
    last(replies.run(TAB, 2, path, NAMES, "first", *LOOK))
    assert "opacity between 0 and 1" in replies.redraw(TAB, 3, *wrong)[1]["text"]
    assert "opacity between 0 and 1" in replies.download("PNG")(TAB, 4, *wrong)[1]["text"]


def test_what_nobody_expected_is_for_the_log(
    sessions: Sessions, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(sessions.models, "encode", fail)
    assert last(Replies(sessions).run(TAB, 1, path, NAMES, "first", *LOOK))[2] == {"text": FAILED, "error": True}
    assert "/secret/path" in caplog.text
