#!/usr/bin/env python3
"""Load the real commands and one `Segmenter` for long, and tell whether anything grows, mixes or slows down.

    nice python tools/load_test.py --images 10000
    nice python tools/load_test.py --parts vocabularies threads

The parts: `folders` (`fcclip segment FOLDER`), `batch` (`fcclip predict`), `page` (requests to `fcclip serve`),
`vocabularies` (many on one `Segmenter`) and `threads` (many on one `Segmenter`, each with a vocabulary and a picture of
its own). Pictures are small, the model is the one that comes along. Memory, open files, threads and CPU seconds are
those that Linux tells of the process. The exit code is 1 if something grew, an answer was wrong, or a command failed.
Fifty people at once: tools/load_test_page.py.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from tabulate import tabulate

from fcclip import Segmenter
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.scene import render_scene
from fcclip.files.atomic import write_text
from fcclip.files.images import read_image
from fcclip.formats.picture import save_picture
from fcclip.zoo import find_pretrained

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.load_test_page import NAMES, serving, summary

SIDE = 64
STEP = 500  # images from one look at the process to the next
WARM = 0.2  # of the work, in which memory may grow: buffers, pools and caches fill
MOST_GROWTH = 1.0  # MB per 1,000 images in the end; a leak of one small picture each would be 12
NOISE = 1.0  # MB, as allocators take and give back
MOST_SLOWER = 1.5  # CPU per image at the end, by that at the beginning
WORDS = NAMES[0]
SMALL = ("INPUT.MIN_SIZE_TEST", str(SIDE))
CHECKED = 20  # every so-manieth answer of the page is compared
Check = Callable[[], bool]


@dataclass(frozen=True)
class Mark:
    """What Linux tells of a process when so much was done."""

    done: int
    megabytes: float
    files: int
    threads: int
    cpu: float  # seconds

    @classmethod
    def of(cls, pid: int, done: int) -> Mark:
        folder = Path("/proc") / str(pid)
        status = dict(re.findall(r"(?m)^(\w+):\s+(\d+)", (folder / "status").read_text()))
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        return cls(
            done, int(status["VmRSS"]) * 1024 / 1e6, len(list((folder / "fd").iterdir())), int(status["Threads"]), cpu
        )


@dataclass(frozen=True)
class Growth:
    """What a row of marks says.

    What fills up, as the memory that an allocator keeps for each thread, grows less and less; a leak goes on. So the
    last half decides.

    Attributes:
        megabytes: of memory per 1,000, a straight line through the marks.
        in_the_end: the same of the last half of the marks.
        altogether: megabytes, of that line from the first to the last mark of the last half.
        files, threads: more at the end than at the beginning.
        slower: CPU seconds per image of the last quarter, by those of the first.
    """

    megabytes: float
    in_the_end: float
    altogether: float
    files: int
    threads: int
    slower: float

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> Growth:
        """The growth along marks after the warm-up.

        Raises:
            ValueError: there are fewer than three marks.
        """
        if len(marks) < 3:
            raise ValueError("too few looks at the process to tell a growth; give more work (see --help)")
        first, last, half, quarter = marks[0], marks[-1], marks[len(marks) // 2 :], max(1, len(marks) // 4)
        begin, end = per_image(first, marks[quarter]), per_image(marks[-1 - quarter], last)
        in_the_end = slope(half) if len(half) > 2 else slope(marks)
        altogether = in_the_end / 1000 * (last.done - half[0].done)
        more = (last.files - first.files, last.threads - first.threads)
        return cls(slope(marks), in_the_end, altogether, *more, end / begin)

    @property
    def is_none(self) -> bool:
        """Whether nothing grew."""
        few = 4  # of connections and helpers that come and go
        is_flat = self.in_the_end <= MOST_GROWTH or self.altogether <= NOISE
        return is_flat and self.files <= few and self.threads <= few and self.slower <= MOST_SLOWER


def give_back() -> None:
    """Have glibc give back what is free, which it else keeps in pieces, more and more of them at first."""
    gc.collect()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def slope(marks: Sequence[Mark]) -> float:
    """Megabytes per 1,000 images, of a straight line."""
    return 1000 * float(np.polyfit([mark.done for mark in marks], [mark.megabytes for mark in marks], 1)[0])


def per_image(first: Mark, last: Mark) -> float:
    """CPU seconds per image between two marks."""
    return (last.cpu - first.cpu) / (last.done - first.done)


def report(part: str, marks: Sequence[Mark], warm: float = WARM) -> bool:
    """Print the marks and what those after the warm-up say; whether nothing grew."""
    late = [mark for mark in marks if mark.done >= warm * marks[-1].done]
    growth = Growth.of(late)
    shown = [*marks[:: max(1, len(marks) // 8)], marks[-1]]
    rows = [[m.done, f"{m.megabytes:.0f}", m.files, m.threads, f"{m.cpu:.1f}"] for m in shown]
    print(f"\n{part}\n{tabulate(rows, ['done', 'MB', 'files', 'threads', 'CPU s'], tablefmt='github')}")
    print(
        f"{part}: {growth.megabytes:+.2f} MB per 1,000, in the last half {growth.in_the_end:+.2f}, "
        f"{growth.files:+d} files, {growth.threads:+d} threads, "
        f"{1000 * per_image(late[0], late[-1]):.1f} ms of CPU each, {growth.slower:.2f} times that at the end; "
        f"{'no growth' if growth.is_none else 'GROWS'}",
        flush=True,
    )
    return growth.is_none


def pictures(folder: Path, count: int) -> list[Path]:
    """Rendered scenes, written once."""
    paths = [folder / f"{number // 1000:03d}" / f"{number:06d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.is_file():
            save_picture(path, render_scene(np.random.default_rng(number), SIDE, SIDE).image)
    return paths


def watch(command: Sequence[str], done: Callable[[], int], total: int, log: Path) -> tuple[int, list[Mark]]:
    """Run a command of the package, and look at it after every `STEP` images; its exit code and the marks.

    When all images are done, what is left is to close and to sum up: no growth, and not looked at.
    """
    marks: list[Mark] = []
    with (
        log.open("w") as out,
        subprocess.Popen([sys.executable, "-m", "fcclip", *command], stdout=out, stderr=out) as it,
    ):
        while it.poll() is None:
            count = done()
            if (marks[-1].done // STEP if marks else 0) < count // STEP and count < total:
                try:
                    marks.append(Mark.of(it.pid, count))
                except (OSError, KeyError):  # it has just ended
                    break
            time.sleep(0.1)
    return it.returncode, marks


class Lines:
    """How many lines a growing file has; what was counted is not read again."""

    def __init__(self, path: Path) -> None:
        self._path, self._place, self._count = path, 0, 0

    def __call__(self) -> int:
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._place)
                content = file.read()
            self._place += len(content)
            self._count += content.count(b"\n")
        return self._count


def load_folders(options: argparse.Namespace, scratch: Path) -> bool:
    """`fcclip segment FOLDER`, and the same with `--resume`, which has nothing to do."""
    output = scratch / "folders"
    source = str(options.pictures)
    command = ["segment", source, "--subfolders", "--model", "panoshapes", "--output", str(output)]
    command += ["--vocabulary", WORDS, "--opts", *SMALL]
    lines = Lines(output / "summary" / "done" / "rank0.jsonl")
    code, marks = watch(command, lambda: max(0, lines() - 1), options.images, scratch / "folders.log")
    well = report("folders", marks)
    written = sum(path.suffix == ".png" for path in output.rglob("*.png"))
    start = os.times()
    again, _ = watch([*command[:-3], "--resume", *command[-3:]], lambda: 0, 0, scratch / "folders_resumed.log")
    end = os.times()
    seconds = end.children_user + end.children_system - start.children_user - start.children_system
    print(f"folders: exit codes {code} and {again}, {written} pictures; the second run took {seconds:.0f} s of CPU")
    return well and code == again == 0 and written == options.images


def load_batch(options: argparse.Namespace, scratch: Path) -> bool:
    """`fcclip predict`, in one process."""
    output = scratch / "batch"
    command = ["predict", str(options.pictures), "--output", str(output), "--model", "panoshapes"]
    command += ["--vocabulary", WORDS, "--shard-size", str(STEP), "--opts", *SMALL]

    def done() -> int:
        ranges = [path.stem.split("-") for path in (output / "index.parquet").glob("*.parquet")]
        return sum(int(last) - int(first) for _, first, last in ranges)

    code, marks = watch(command, done, options.images, scratch / "batch.log")
    print(f"batch: exit code {code}, {done()} records")
    return report("batch", marks) and code == 0 and done() == options.images


def load_page(options: argparse.Namespace, scratch: Path) -> bool:
    """Four people who send picture after picture; some answers are compared with those given alone."""
    paths = options.paths
    shipped, small = find_pretrained("panoshapes"), scratch / "small.yaml"
    sizes = f"{{MIN_SIZE_TEST: {SIDE}}}"
    write_text(small, f"_BASE_: {shipped.config}\nMODEL: {{WEIGHTS: {shipped.weights}}}\nINPUT: {sizes}\n")
    alone = Segmenter.from_config(small)
    marks: list[Mark] = []
    errors: list[str] = []
    counted = threading.Lock()
    done = 0
    with serving("--max-memory", "0.05", "--queue", "8", model=str(small)) as (address, pid):

        def send(turn: int) -> None:
            nonlocal done
            found = ask(address, paths[turn], NAMES[turn % len(NAMES)])
            if isinstance(found, str):
                errors.append(found)
            elif turn % CHECKED == 0:
                expected = alone.predict(paths[turn], vocabulary=NAMES[turn % len(NAMES)]).to_dict()["segments"]
                if summary(found) != summary(expected):
                    errors.append(f"picture {turn} was answered otherwise than alone")
            with counted:
                done += 1
                if done % STEP == 0:
                    marks.append(Mark.of(pid, done))

        with ThreadPoolExecutor(4) as people:
            list(people.map(send, range(len(paths))))
        health = requests.get(f"{address}/health", timeout=60).json()
    kept = f"; {health['sessions']} pictures kept, {health['session_bytes'] / 1e6:.0f} MB"
    print(f"page: {done} answers, {len(errors)} wrong{kept}", *errors[:3], sep="\n")
    return report("page", marks) and not errors


def ask(address: str, path: Path, names: str) -> Any:
    """The segments of a picture, or what was said in their place."""
    reply = requests.post(
        f"{address}/predict",
        files={"picture": (path.name, path.read_bytes())},
        data={"names": names, "task": "panoptic", "masks": "false"},
        timeout=120,
    )
    return reply.json()["segments"] if reply.status_code == 200 else reply.text


def load_vocabularies(options: argparse.Namespace, scratch: Path) -> bool:
    """Many vocabularies of 40 invented names, of which no word was asked for before, on one segmenter.

    The memory is that which is in use: what the allocator keeps for later is given back before every look.
    """
    prompts = scratch / "prompts.txt"
    write_text(prompts, "a photo of a {}.\n")
    opts = ("MODEL.FC_CLIP.TEXT_CACHE", "False", "MODEL.FC_CLIP.TEMPLATES", str(prompts), *SMALL)
    segmenter = Segmenter.from_pretrained("panoshapes", opts)
    picture = segmenter.encode(read_image(options.paths[0]))
    marks = []
    for number in range(options.vocabularies):
        names = [f"{invented(40 * number + place)} {place}" for place in range(40)]
        segmenter.predict(picture, vocabulary=names)
        if number % 20 == 19:
            give_back()
            marks.append(Mark.of(os.getpid(), number + 1))
    return report("vocabularies", marks, warm=0.6)  # until the most names are kept


def invented(number: int) -> str:
    """A word of its own for every number."""
    letters = []
    for _ in range(6):
        number, letter = divmod(number, 26)
        letters.append(chr(ord("a") + letter))
    return "q" + "".join(letters)


def load_threads(options: argparse.Namespace, scratch: Path) -> bool:
    """Many threads on one segmenter, each with its own picture and names; every answer is that given alone."""
    segmenter = Segmenter.from_pretrained("panoshapes", SMALL)
    wishes = [(read_image(options.paths[number]), own_words(number)) for number in range(options.threads)]
    expected = [fingerprint(segmenter, *wish) for wish in wishes]
    marks: list[Mark] = []
    counted = threading.Lock()
    wrong = done = 0

    def use(number: int) -> None:
        nonlocal done, wrong
        for _ in range(options.rounds):
            same = fingerprint(segmenter, *wishes[number]) == expected[number]
            with counted:
                wrong += not same
                done += 1
                if done % 100 == 0:
                    marks.append(Mark.of(os.getpid(), done))

    with ThreadPoolExecutor(options.threads) as pool:
        list(pool.map(use, range(options.threads)))
    print(f"threads: {options.threads} on one segmenter, {done} answers, {wrong} other than alone")
    return report("threads", marks) and not wrong


def own_words(number: int) -> str:
    """Names of a thread: others than its neighbours', and in another number."""
    names = [entry.name for entry in CLASSES]
    return "; ".join(names[(7 * number + step) % len(names)] for step in range(5 + number % 7))


def fingerprint(segmenter: Segmenter, picture: np.ndarray, words: str) -> tuple[Any, ...]:
    """All bits of an answer."""
    found = segmenter.predict(picture, vocabulary=words)
    arrays = [array for array in (found.panoptic, found.semantic) if array is not None]
    if found.instances is not None:
        arrays += [found.instances.masks, found.instances.scores, found.instances.category_ids]
    return (*(array.tobytes() for array in arrays), tuple((s.name, s.score, s.area) for s in found.segments))


PARTS: dict[str, Callable[[argparse.Namespace, Path], bool]] = {
    "folders": load_folders,
    "batch": load_batch,
    "vocabularies": load_vocabularies,
    "threads": load_threads,
    "page": load_page,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--images", type=int, default=10_000, help="of folders, batch and page (default: %(default)s)")
    parser.add_argument("--vocabularies", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=300, help="answers of each thread (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/load_test"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.pictures = options.output / f"pictures_{options.images}"
    options.paths = pictures(options.pictures, options.images)
    logging.disable(logging.WARNING)  # of words that the model was never trained on
    well = [PARTS[part](options, options.output) for part in options.parts]
    return int(not all(well))


if __name__ == "__main__":
    sys.exit(main())
