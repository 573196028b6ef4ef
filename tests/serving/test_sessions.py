import threading

import numpy as np
import pytest

from fcclip.files.images import ImageTooLargeError
from fcclip.serving.memory import held_bytes
from fcclip.serving.models import Models, NamesError, UnknownModelError
from fcclip.serving.sessions import SESSION_BYTES, Limits, NoPictureError, Session, Sessions
from tests.serving.conftest import picture

NAMES = ("cat; dog; sky=stuff", "tree; house; road=stuff; sky=stuff")


def alone(models: Models, image: np.ndarray, names: str, model: str = "first") -> np.ndarray:
    """The answer of a model that nobody else uses."""
    found = models.get(model).predict(image, vocabulary=names).panoptic
    assert found is not None
    return found


def test_new_names_are_asked_of_the_picture_as_it_was_encoded(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(models)
    assert session.show(picture(0)) > 0
    monkeypatch.setattr(models.get(), "encode", None)  # must not be called again
    for names in NAMES:
        answer = session.ask(names)
        assert not answer.encoded_again
        assert answer.model == "first"
        assert np.array_equal(answer.segmentation.panoptic, alone(models, picture(0), names))
        assert answer.segmentation.vocabulary.categories[0].name == names.split(";")[0]


def test_another_model_looks_at_the_same_picture(models: Models) -> None:
    session = Session(models)
    session.show(picture(1))
    answer = session.ask(NAMES[0], model="second")
    assert (answer.model, answer.encoded_again) == ("second", True)
    assert np.array_equal(answer.segmentation.panoptic, alone(models, picture(1), NAMES[0], "second"))
    assert session.model == "second"
    assert not session.ask(NAMES[1]).encoded_again


def test_the_bytes_of_a_session_are_those_of_what_it_keeps(models: Models) -> None:
    session = Session(models)
    assert session.nbytes == SESSION_BYTES
    session.show(picture(0))
    encoded = models.encode(picture(0))
    assert session.nbytes == SESSION_BYTES + held_bytes(encoded)
    session.let_go()
    assert session.nbytes == SESSION_BYTES + picture(0).nbytes
    assert session.ask(NAMES[0]).encoded_again
    session.close()
    assert session.image is None
    assert session.nbytes == SESSION_BYTES


def test_what_cannot_be_answered_is_told_and_changes_nothing(models: Models) -> None:
    session = Session(models, Limits(pixels=48 * 64, names=3, letters=60))
    with pytest.raises(NoPictureError, match="show one first"):
        session.ask("cat")
    session.show(picture(0))
    with pytest.raises(ImageTooLargeError, match="65x48 pixels, more than the 3,072 that are allowed here"):
        session.show(picture(0, width=65))
    with pytest.raises(ValueError, match="an image is"):
        session.show(np.zeros(3, np.uint8))
    with pytest.raises(UnknownModelError):
        session.show(picture(0), "third")
    for names, message in [
        (" ", "no names to look for"),
        ("cat; cat", "given twice"),
        ("a; b; c; not: d", "these are 4 names, more than the 3"),
        ("x" * 61, "61 letters"),
        ("/etc/passwd.txt", "the name of a file"),
    ]:
        with pytest.raises(NamesError, match=message):
            session.ask(names)
    assert not session.ask("cat").encoded_again


def test_sessions_do_not_mix_in_threads(models: Models) -> None:
    sessions = Sessions(models)
    wanted = {(seed, names): alone(models, picture(seed), names) for seed in range(4) for names in NAMES}
    wrong: list[tuple[int, str]] = []

    def use(seed: int) -> None:
        sessions.get(str(seed)).show(picture(seed))
        for turn in range(6):
            names = NAMES[(seed + turn) % 2]
            found = sessions.get(str(seed)).ask(names).segmentation
            if not np.array_equal(found.panoptic, wanted[seed, names]) or not np.array_equal(
                found.image, picture(seed)
            ):
                wrong.append((seed, names))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(sessions) == 4


def test_the_least_recently_used_give_memory_back_first(models: Models) -> None:
    one = Session(models)
    one.show(picture(0))
    sessions = Sessions(models, max_bytes=2 * one.nbytes + SESSION_BYTES + picture(0).nbytes)
    for key in "abc":
        sessions.get(key).show(picture(0))
    assert sessions.nbytes == 2 * one.nbytes + SESSION_BYTES + picture(0).nbytes
    assert not sessions.get("b").ask("cat").encoded_again
    assert sessions.get("a").ask("cat").encoded_again  # which takes the memory of c
    assert sessions.get("c").ask("cat").encoded_again

    tight = Sessions(models, max_bytes=one.nbytes + SESSION_BYTES)
    for key in "abc":
        tight.get(key).show(picture(0))
    assert len(tight) == 1
    with pytest.raises(NoPictureError):
        tight.get("a").ask("cat")


def test_one_session_may_exceed_the_bound_alone(models: Models) -> None:
    sessions = Sessions(models, max_bytes=1)
    sessions.get("a").show(picture(0))
    assert not sessions.get("a").ask("cat").encoded_again


def test_idle_sessions_are_forgotten(models: Models) -> None:
    now = 0.0
    sessions = Sessions(models, max_idle_seconds=10, clock=lambda: now)
    for key in "ab":
        sessions.get(key).show(picture(0))
    now = 6.0
    sessions.get("b").ask("cat")
    now = 12.0
    sessions.forget_idle()
    assert len(sessions) == 1
    assert not sessions.get("b").ask("cat").encoded_again
    sessions.close("b")
    assert len(sessions) == 0


def test_a_session_that_was_forgotten_while_it_was_used_keeps_nothing(models: Models) -> None:
    sessions = Sessions(models)
    session = sessions.get("a")
    sessions.close("a")
    session.show(picture(0))
    assert session.image is None
    assert sessions.nbytes == 0


@pytest.mark.parametrize("most", [10**9, 40 * SESSION_BYTES], ids=["room", "full"])
def test_a_request_costs_the_same_however_many_pictures_are_kept(models: Models, monkeypatch, most: int) -> None:
    sessions = Sessions(models, max_bytes=most)
    for number in range(100):
        sessions.get(str(number))
    looks: list[str] = []
    nbytes, let_go = Session.nbytes.fget, Session.let_go
    monkeypatch.setattr(Session, "nbytes", property(lambda session: looks.append("bytes") or nbytes(session)))
    monkeypatch.setattr(Session, "let_go", lambda session: looks.append("let go") or let_go(session))
    sessions.get("another")
    assert len(looks) <= 4
    assert sessions.nbytes == len(sessions) * SESSION_BYTES <= most


def test_a_picture_whose_answer_failed_is_counted(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(models)
    session = sessions.get("a")
    session.show(picture(0))
    full = sessions.nbytes
    session.let_go()
    monkeypatch.setattr(models, "answer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.ask("cat")
    assert sessions.nbytes == full == session.nbytes
