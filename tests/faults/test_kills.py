"""A small share of `make faults`: two commands, killed at moments that are the same in every run of the tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fetch import publish
from tests.faults.kills import DRAWS, Fault, Moment, Trial, first_in_time
from tests.faults.operations import OPERATIONS
from tests.faults.trees import contents, differences
from tests.faults.zygote import Zygote
from tests.files.servers import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    modules = ("fcclip.commands.data", "fcclip.data.get", "fcclip.data.validation.report", "tests.faults.fetch")
    with Zygote(modules) as running:
        yield running


@pytest.mark.parametrize("name", ["download", "preparation"])
def test_a_command_that_was_killed_ends_as_if_it_had_not_been(name: str, zygote: Zygote, tmp_path: Path) -> None:
    (operation,) = (one for one in OPERATIONS if one.name == name)
    with Server().running() as server:
        (tmp_path / "packed").mkdir()
        publish(server, tmp_path / "packed")
        trial = Trial(operation, zygote, tmp_path / "trial", server.url)
        trial.run_undisturbed()
        for moment in (Moment(0, signal.SIGKILL, 0.3, True), Moment(1, signal.SIGTERM, 0.6, True)):
            fault = trial.kill(moment)
            assert not fault.wrong, str(fault)
            assert not fault.left, str(fault)


def test_moments_follow_from_the_seed() -> None:
    drawn = [Moment.draw(0, "training", number) for number in range(100)]
    assert drawn == [Moment.draw(0, "training", number) for number in range(100)]
    assert drawn[3] != Moment.draw(1, "training", 3)
    assert [moment.signal for moment in drawn].count(signal.SIGKILL) == 50
    assert [moment.in_work for moment in drawn[::2]].count(True) == 25
    assert min(moment.share for moment in drawn) < 0.05
    assert max(moment.share for moment in drawn) > 0.95


@pytest.mark.parametrize("late", [0, 1, DRAWS - 1, DRAWS])
def test_a_moment_that_came_too_late_is_drawn_again(late: int) -> None:
    tried: list[Moment] = []

    def attempt(moment: Moment) -> Fault:
        tried.append(moment)
        return Fault(moment.number, str(moment), phase="" if len(tried) <= late else "work")

    fault = first_in_time(attempt, 0, "training", 5)
    assert tried[0] == Moment.draw(0, "training", 5)
    assert len({moment.share for moment in tried}) == len(tried) == min(late + 1, DRAWS)
    assert {(moment.number, moment.signal, moment.in_work) for moment in tried} == {(5, signal.SIGTERM, False)}
    assert fault.drawn_again == len(tried) - 1
    assert bool(fault.wrong) == (late == DRAWS), "a command that is never disturbed is no success"


def test_a_late_run_that_went_wrong_is_not_drawn_again() -> None:
    fault = first_in_time(lambda moment: Fault(moment.number, "", wrong=["x is missing"]), 0, "training", 5)
    assert fault.wrong == ["x is missing"]
    assert fault.drawn_again == 0


def test_what_is_missing_other_or_left_is_told(tmp_path: Path) -> None:
    for name, text in (("same", "1"), ("other", "1"), ("log.txt", "1"), ("deep/gone", "1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path, ("log*",), {})
    (tmp_path / "other").write_text("2")
    (tmp_path / "log.txt").write_text("2")
    (tmp_path / "deep" / "gone").unlink()
    (tmp_path / ".scratch").write_text("")
    wrong, left = differences(before, contents(tmp_path, ("log*",), {}))
    assert wrong == ["deep/gone is missing", "other is other"]
    assert left == [".scratch", "deep/"]
