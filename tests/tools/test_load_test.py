"""What the load test makes of what it sees."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tools.load_test import Growth, Lines, Mark, invented, report


def marks(megabytes: float = 0.0, files: float = 0.0, slower: float = 0.0) -> list[Mark]:
    """Of 10,000 images, with so much more per 1,000."""
    looks = []
    cpu = 0.0
    for step in range(1, 21):
        cpu += 10 + slower * step
        looks.append(Mark(500 * step, 900 + megabytes * step / 2, int(5 + files * step / 2), 3, cpu))
    return looks


def test_what_grows_is_told() -> None:
    assert Growth.of(marks()) == Growth(*[pytest.approx(0, abs=1e-8)] * 3, 0, 0, 1.0)
    assert Growth.of(marks()).is_none
    assert Growth.of(marks(megabytes=3)).megabytes == pytest.approx(3)
    assert not Growth.of(marks(megabytes=3)).is_none
    assert not Growth.of(marks(megabytes=1.3)).is_none
    assert Growth.of(marks(megabytes=1.3)[:4]).is_none, "less than 1 MB may be an allocator's"
    assert not Growth.of(marks(files=2)).is_none
    assert Growth.of(marks(slower=1)).slower > 1.5
    with pytest.raises(ValueError, match="too few looks"):
        Growth.of(marks()[:2])


def test_what_fills_up_is_no_leak() -> None:
    looks = [replace(mark, megabytes=mark.megabytes + 20 * (1 - 0.7**step)) for step, mark in enumerate(marks())]
    assert Growth.of(looks).megabytes > 1.3
    assert Growth.of(looks).is_none
    assert not Growth.of(looks[:10]).is_none, "not yet full"


def test_the_warm_up_does_not_count(capsys: pytest.CaptureFixture[str]) -> None:
    looks = marks()
    looks[0] = Mark(500, 100.0, 5, 3, looks[0].cpu)
    assert report("part", looks)
    assert "no growth" in capsys.readouterr().out
    assert not report("part", marks(megabytes=3))


def test_a_process_is_looked_at() -> None:
    mark = Mark.of(os.getpid(), 7)
    assert mark.done == 7
    assert mark.megabytes > 10
    assert mark.threads >= 1
    with Path(os.devnull).open():
        assert Mark.of(os.getpid(), 8).files == mark.files + 1


def test_lines_are_counted_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    count = Lines(path)
    assert count() == 0
    path.write_text("one\ntwo\nhalf")
    assert count() == 2
    with path.open("a") as file:
        file.write(" a line\n")
    assert count() == 3


def test_no_word_is_invented_twice() -> None:
    words = [invented(number) for number in range(0, 40_000, 7)]
    assert len(set(words)) == len(words)
    assert all(word.isalpha() for word in words)
