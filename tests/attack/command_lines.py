"""Command lines with one thing wrong: told in one sentence, before any work, and nothing is written."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from fcclip.__main__ import COMMANDS, main
from tests.attack.images import encoded
from tests.attack.judge import INNER_WORDS, Attack
from tests.attack.words import WRONG

SEGMENT = ("segment", "IN/scene.png", "--model", "panoshapes", "--output", "OUT", "--vocabulary", "red star")
NUMBERS = ("", "x", "-1", "1e999", "nan", "0x10", "1.5.5", "1,5", "--")
TEXTS = (
    "",
    " ",
    "nope",
    "nope.yaml",
    "/dev/null",
    "/nonexistent/a",
    "../..",
    "a\x00b",
    "x" * 300,
    "~",
    "https://example.org/x",
    "IN/text.txt",
)
OPTIONS = (
    ["MODEL.NOPE", "1"],
    ["SEED"],
    ["INPUT.MIN_SIZE_TEST", "x"],
    ["MODEL.DEVICE", "abacus"],
    ["=", "="],
    ["MODEL", "1"],
)

FROM_INSIDE = ("the program failed", "Invalid device string", "Expected one of cpu", "embedded null")
_SENTENCE = re.compile(
    r"(fcclip( \w+)?|python -m fcclip[.\w]*( \w+)?|train_net|train_net.py|evaluate|error)(: error)?: "
)


def attacks() -> Iterator[Attack]:
    for name in COMMANDS:
        if name != "doctor":
            for words in (["--nope"], ["--debug=1"], ["", ""], ["--", "--nope"]):
                yield _refused([name, *words])
    for words in (["nope"], [""], ["--nope"], ["-"], ["segment\n"], ["SEGMENT"], ["segment segment"], ["é"]):
        yield _refused(words)
    yield from _texts()
    yield from _numbers()
    for names in WRONG:
        yield _refused([*SEGMENT[:-1], names])
    for output in ("IN/scene.png/x", "/proc/x", "/dev/null/x", "IN/text.txt/a.png"):
        yield _refused([*_without("--output"), "--output", output])
        yield _refused([*SEGMENT, "--json", output])
    for opts in OPTIONS:
        yield _refused([*SEGMENT, "--opts", *opts])


def _texts() -> Iterator[Attack]:
    for text in TEXTS:
        yield _refused(["segment", text or "''", *SEGMENT[2:]])
        yield _refused(["video", text or "''", *SEGMENT[2:]])
        for flag in ("--model", "--config-file", "--vocabulary-file", "--device", "--add-vocabulary", "--format"):
            yield _refused([*_without(flag), flag, text])
        yield _refused(["evaluate", "--config-file", text])
        yield _refused(["train", "--config-file", text])
        yield _refused(["convert", text, "OUT/x.pth"])
        yield _refused(["check", text])
        yield _refused(["data", text])
        yield _refused(["check", "--config-file", text, "x"])


def _numbers() -> Iterator[Attack]:
    for number in NUMBERS:
        for flag in ("--batch-size", "--confidence-threshold"):
            yield _refused([*SEGMENT, flag, number])
        for flag in ("--every", "--look-ahead", "--batch-size"):
            yield _refused(["video", "IN/scene.mp4", *SEGMENT[2:], flag, number])
        for flag in ("--num-gpus", "--num-machines", "--machine-rank"):
            yield _refused(["train", "--config-file", "panoshapes/fcclip_small.yaml", flag, number])


def _without(flag: str) -> list[str]:
    """The command line without a flag and its value; names of a file take the place of names."""
    flag = {"--config-file": "--model", "--vocabulary-file": "--vocabulary"}.get(flag, flag)
    words = list(SEGMENT)
    if flag in words:
        del words[words.index(flag) : words.index(flag) + 2]
    return words


def _refused(words: Sequence[str]) -> Attack:
    shown = " ".join(word if len(word) < 60 else f"{word[:57]}..." for word in words)
    return Attack(repr(shown), partial(_run, words=tuple(words)), _is_one_sentence)


Ended = tuple[int, str, list[str]]


def _run(folder: Path, words: Sequence[str]) -> Ended:
    """The exit code, what was told, and the files that are there afterwards."""
    (folder / "IN").mkdir()
    (folder / "IN" / "scene.png").write_bytes(encoded("PNG", "RGB"))
    (folder / "IN" / "text.txt").write_text("no picture\x00", encoding="utf-8")
    (folder / "IN" / "scene.mp4").write_bytes(b"no video")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
            try:
                code = main(list(words))
            except SystemExit as stopped:
                code = stopped.code if isinstance(stopped.code, int) else 1
    finally:
        os.chdir(before)
    return code, errors.getvalue(), sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _is_one_sentence(ended: Ended) -> bool:
    """Not 0, a line that says what is wrong, and no file but those that were there."""
    code, told, files = ended
    sentences = [line for line in told.splitlines() if _SENTENCE.match(line)]
    return (
        code in (1, 2)
        and len(sentences) == 1
        and not any(word in told for word in (*INNER_WORDS, *FROM_INSIDE))
        and len(sentences[0]) < 900
        and files == ["IN/scene.mp4", "IN/scene.png", "IN/text.txt"]
    )
