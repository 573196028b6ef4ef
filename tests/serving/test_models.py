import threading
from pathlib import Path

import pytest

from fcclip import Segmenter, Vocabulary
from fcclip.serving.models import Models, UnknownModelError, Words
from tests.serving.conftest import picture, tiny_segmenter
from tests.tiny import write_tiny_config


def test_a_model_is_loaded_once_by_many_threads() -> None:
    loads: list[str] = []
    ready = threading.Barrier(4)

    def load(source: str) -> Segmenter:
        loads.append(source)
        return segmenter

    segmenter = tiny_segmenter()
    models = Models(["one", "two"], load=load)

    def get() -> None:
        ready.wait()
        assert models.get("one") is segmenter

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["one"]
    assert models.loaded == ["one"]


def test_no_more_models_than_asked_for_stay_in_memory() -> None:
    loads: list[str] = []
    segmenter = tiny_segmenter()
    models = Models(["a", "b", "c"], keep=2, load=lambda source: loads.append(source) or segmenter)
    for name in ("a", "b", "a", "c", "a", "b"):
        models.get(name)
    assert loads == ["a", "b", "c", "b"]
    assert models.loaded == ["a", "b"]


def test_a_model_that_cannot_be_loaded_is_tried_again() -> None:
    answers = iter([ValueError("no weights"), tiny_segmenter()])

    def load(source: str) -> Segmenter:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    models = Models(["one"], load=load)
    with pytest.raises(ValueError, match="no weights"):
        models.get()
    assert models.get() is models.get("one")


def test_models_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='there is no model "nothing"'):
        Models(["panoshapes", "nothing"])
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        Models([tmp_path / "model.pth"])
    with pytest.raises(ValueError, match="at least one model"):
        Models([])
    one, other = tmp_path / "a", tmp_path / "b"
    for folder in (one, other):
        folder.mkdir()
        write_tiny_config(folder)
    with pytest.raises(ValueError, match='two models would be offered as "tiny_convnext"'):
        Models([one / "tiny_convnext.yaml", other / "tiny_convnext.yaml"])


def test_a_yaml_file_is_offered_by_its_name_and_writes_no_words_to_the_disk(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    models = Models([write_tiny_config(tmp_path)])
    assert models.names == ["tiny_convnext"]
    models.words(Vocabulary.from_string("a secret name"))
    assert not (tmp_path / "cache" / "text").exists()


def test_only_offered_models_are_asked(models: Models) -> None:
    assert models.choose(None) == models.choose("") == "first"
    with pytest.raises(UnknownModelError, match='no model "panoshapes" here; choose from first, second'):
        models.get("panoshapes")
    with pytest.raises(UnknownModelError):
        models.encode(picture(0), "/etc/passwd")


def test_words_of_many_people_are_encoded_once_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = tiny_segmenter()
    calls: list[Vocabulary] = []
    encode = segmenter.encode_vocabulary
    monkeypatch.setattr(segmenter, "encode_vocabulary", lambda asked: calls.append(asked) or encode(asked))
    cat, dog = Vocabulary.from_string("cat"), Vocabulary.from_string("dog")
    words = Words(segmenter)
    assert words.encode(cat) is words.encode(Vocabulary.from_string("cat"))
    size = words.nbytes
    assert size > 0
    assert len(calls) == 1

    small = Words(segmenter, most_bytes=size)
    small.encode(cat)
    small.encode(dog)
    assert small.nbytes <= size
    small.encode(cat)
    assert calls[1:] == [cat, dog, cat]
