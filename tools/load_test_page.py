#!/usr/bin/env python3
"""Ask a real `fcclip serve` on this machine as many people at once, and compare every answer with the one given alone.

    python tools/load_test_page.py --users 50 --seconds 60
    python tools/load_test_page.py --users 50 --seconds 60 --page

Every user has a picture of its own and changing names, and asks by the HTTP interface, or with --page as a browser
does: then every third time two questions at once, of which the second has to be answered. Prints errors, mixed answers,
latencies and the memory of the server before and after. The exit code is 1 if there was an error or an answer that
belongs to somebody else, or to an older question.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import requests
from PIL import Image

from fcclip import Segmentation, Segmenter
from fcclip.data.panoshapes.scene import render_scene
from fcclip.serving.shown import shown_result
from fcclip.serving.tabs import Look

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.page_tab import LOOK, TIMEOUT, PageTab

NAMES = (
    "red star; purple heart; blue star; red circle; grass=stuff; snow=stuff; water=stuff",
    "green square; white crescent; yellow ring; purple arrow; brick=stuff; sand=stuff",
    "star; circle; square; triangle; heart; water=stuff",
)
SIDE = 192
LEAST_TURNS = 3  # of every user, however long they take


@dataclass
class Tally:
    """What the users met.

    Attributes:
        first: seconds of the first answer for each picture.
        changed: seconds of the answers for other names.
        errors: what was said in place of answers.
        mixed: answers that are not those of the user's picture and names.
        turned_away: how often the server was full.
    """

    first: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    mixed: int = 0
    turned_away: int = 0


@contextmanager
def serving(*flags: str, model: str = "panoshapes") -> Iterator[tuple[str, int]]:
    """A server in a process of its own; its address, and the number of the process."""
    command = [sys.executable, "-m", "fcclip", "serve", "--model", model, "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if " at http" not in line:
                raise RuntimeError(f"the server did not start: {line}")
            yield line.partition(" at ")[2].partition(";")[0], process.pid
        finally:
            process.terminate()
            process.communicate()  # its last words, which it could not say into a closed pipe


def scene(seed: int) -> np.ndarray:
    """The picture of a user."""
    return render_scene(np.random.default_rng(seed), SIDE, SIDE).image


def summary(segments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What tells answers apart: name, area and box of every segment."""
    return sorted((one["name"], one["area"], *one["box"]) for one in segments)


def answers_alone(users: int, way: type[Way]) -> list[list[Any]]:
    """For every user and list of names, what the model says when nobody else asks."""
    segmenter = Segmenter.from_pretrained("panoshapes")
    alone = []
    for seed in range(users):
        encoded = segmenter.encode(scene(seed))
        alone.append([way.expected(segmenter.predict(encoded, vocabulary=names)) for names in NAMES])
    return alone


class TurnedAwayError(RuntimeError):
    """The server is full."""


class Way(Protocol):
    """How a user asks."""

    def __init__(self, address: str, session: requests.Session, png: bytes) -> None: ...

    def ask(self, turn: int, which: int) -> Any:
        """What is found for `NAMES[which]`."""

    @staticmethod
    def expected(found: Segmentation) -> Any:
        """What `ask` returns for a result."""


class ByHttp:
    """By `POST /predict`, with the picture each time."""

    def __init__(self, address: str, session: requests.Session, png: bytes) -> None:
        self._address, self._session, self._png = address, session, png

    def ask(self, turn: int, which: int) -> Any:
        reply = self._session.post(
            f"{self._address}/predict",
            files={"picture": ("scene.png", self._png)},
            data={"names": NAMES[which], "task": "panoptic", "masks": "false"},
            timeout=TIMEOUT,
        )
        if reply.status_code == 503:
            raise TurnedAwayError
        if reply.status_code != 200:
            raise RuntimeError(reply.text)
        return summary(reply.json()["segments"])

    @staticmethod
    def expected(found: Segmentation) -> Any:
        return summary(found.to_dict()["segments"])


class ByPage:
    """In a tab of the page, where the picture is dropped once."""

    def __init__(self, address: str, session: requests.Session, png: bytes) -> None:
        self._tab = PageTab(address, session)
        self._tab.upload(png)

    def ask(self, turn: int, which: int) -> Any:
        others = [NAMES[which - 1]] if turn % 3 == 2 else []
        rows, late = self._tab.ask(*others, NAMES[which])
        return "an older question was answered late" if late else rows

    @staticmethod
    def expected(found: Segmentation) -> Any:
        return shown_result(found, Look.of(*LOOK).style)["rows"]


def use(address: str, seed: int, way: type[Way], expected: list[Any], until: float, tally: Tally) -> None:
    """One user, who asks until it is time."""
    buffer = io.BytesIO()
    Image.fromarray(scene(seed)).save(buffer, "PNG")
    turn = 0
    with requests.Session() as session:
        try:
            asks = way(address, session, buffer.getvalue())
            while time.monotonic() < until or turn < LEAST_TURNS:
                which = (seed + turn) % len(NAMES)
                start = time.perf_counter()
                try:
                    found = asks.ask(turn, which)
                except TurnedAwayError:
                    tally.turned_away += 1
                    time.sleep(1)
                    continue
                (tally.changed if turn else tally.first).append(time.perf_counter() - start)
                tally.mixed += found != expected[which]
                turn += 1
        except (requests.RequestException, RuntimeError) as error:
            tally.errors.append(str(error))


def load(address: str, users: int, seconds: float, way: type[Way] = ByHttp) -> Tally:
    """Let all users ask at once."""
    alone = answers_alone(users, way)
    tally = Tally()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=use, args=(address, seed, way, alone[seed], until, tally)) for seed in range(users)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def health(address: str) -> dict[str, Any]:
    return requests.get(f"{address}/health", timeout=60).json()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--page", action="store_true", help="ask as a browser does, not by the HTTP interface")
    options = parser.parse_args(arguments)
    with serving("--queue", str(2 * options.users)) as (address, _):
        before = health(address)
        tally = load(address, options.users, options.seconds, ByPage if options.page else ByHttp)
        after = health(address)
    print(f"{options.users} users, {options.seconds:g} s, {len(tally.first) + len(tally.changed)} answers")
    print(f"errors {len(tally.errors)}, mixed answers {tally.mixed}, turned away {tally.turned_away}")
    for name, times in (("first answer", tally.first), ("changed names", tally.changed)):
        if times:
            middle, late = np.percentile(times, (50, 95))
            print(f"{name}: p50 {middle:.2f} s, p95 {late:.2f} s")
    memory = [f"{told['process_bytes'] / 1e6:.0f} MB" for told in (before, after)]
    print(f"memory: {memory[0]} before, {memory[1]} after, with {after['sessions']} pictures")
    print("\n".join(tally.errors[:5]))
    return int(bool(tally.errors or tally.mixed))


if __name__ == "__main__":
    sys.exit(main())
