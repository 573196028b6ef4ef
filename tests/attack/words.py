"""Class names as text, as Python values and as files of every format."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fcclip.vocabulary import Vocabulary, read_names
from tests.attack.judge import Attack
from tests.attack.mutations import bit_flips, odd_documents, truncations

ALPHABET = [
    "a", "Z", "é", "ß", "犬", "ا", "🐈", " ", "  ", "\t", ",", ";", "=", ">", ":", "#", "'", '"', "\n", "-",
    "[", "]", "{", "}", "0", "1", ".6", "stuff", "thing", "not:", "\x00", "\x07", "\x1b", "\u200b", "\u202e",
    "\ufeff", "\u0301", "ｃ", "\ud800", "/", "\\", "%s", "{}", "<b>", "&", "|", "null", "names:", "...", "cat",
]  # fmt: skip
RIGHT = {
    "cat": (("cat",),),
    "cat,kitten; dog": (("cat", "kitten"), ("dog",)),
    " cat ,  kitten ;dog;": (("cat", "kitten"), ("dog",)),
    "cat\ndog\n": (("cat",), ("dog",)),
    "0:cat\n1:dog": (("cat",), ("dog",)),
    "1:dog\n0:cat": (("cat",), ("dog",)),
    "sky=stuff;cat>0.5": (("sky",), ("cat",)),
    '["cat", "dog"]': (("cat",), ("dog",)),
    '{"0": "cat", "1": "dog"}': (("cat",), ("dog",)),
    '{"names": {"0": "cat", "1": "dog"}}': (("cat",), ("dog",)),
    "names:\n  - cat\n  - dog\n": (("cat",), ("dog",)),
    "id,name\n0,cat\n1,dog\n": (("cat",), ("dog",)),
    "café": (("café",),),
    "cafe\u0301": (("café",),),
    "zero\u200bwidth": (("zerowidth",),),
    "don't; it's": (("don't",), ("it's",)),
    "\"quoted\"; 'single'": (("quoted",), ("single",)),
    "犬,いぬ; 猫": (("犬", "いぬ"), ("猫",)),
    "🐈; 🐕": (("🐈",), ("🐕",)),
    "-- not a flag": (("-- not a flag",),),
    "%s %n {0}": (("%s %n {0}",),),
    "../../etc/passwd": (("../../etc/passwd",),),
    "x" * 200: (("x" * 200,),),
}
WRONG = (
    "", " ", "\n", ";", ";;;", ",", ",,", "cat,", ",cat", "cat,,dog", "cat;cat", "cat;Cat", "cat,cat",
    "cat; dog,cat", "cat;ｃａｔ", "\x00",
    "cat\x07", "\x1b[31mred", "\ud800", "\u200b", "\ufeff", "x" * 201, "cat=", "cat=animal", "cat=stuff=stuffing",
    "cat>", "cat>2", "cat>-1",
    "cat>nan", "cat>0.5.5", "cat>1e-1", "=stuff", ">0.5", "#", "# only a comment", "not: wolf", "not:",
    "cat; not: cat", "cat; not:", "0:cat\ndog",
    "0:cat\n0:dog", "[", "{}", "[]", "[[]]", '[""]', "[1]", "[null]", '{"a": 1, "b": 1}', '{"a": {}}', "[" * 5000,
    '["cat", "cat"]',
    "names.txt", "coco.yaml", "names: 5", "names: {", "names: !!python/object/apply:os.system [id]",
    "id,name,area\n0,cat,5\n1,dog,6", "{'a'",
)  # fmt: skip
OBJECTS: tuple[Any, ...] = (
    None, 5, 2.5, True, b"cat", [], {}, (), [None], [1], [[]], [["cat", 5]], {"cat": None}, {1: 2}, {None: "cat"},
    {"cat": "dog"}, {"a": [1]},
    {0: "cat", "x": "dog"}, {-1: "cat"}, [{"id": 1}], [{"name": 5}], {"categories": []}, {"names": None}, object(),
    print, {"names": [[["a"]]]},
    [float("nan")], {"0": ""}, ["cat;dog"], ["cat", "CAT"], {1.5: "cat"}, [b"cat"], {True: "cat"}, range(3),
    "a" * 10**6, ["a"] * 10**5,
)  # fmt: skip
DOCUMENTS = {
    "coco.json": {"categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]},
    "map.json": {"0": "cat", "1": "dog"},
    "list.json": ["cat", ["dog", "puppy"]],
    "yolo.json": {"path": "x", "train": "images", "names": {"0": "cat", "1": "dog"}, "nc": 2},
}


def attacks() -> Iterator[Attack]:
    for text, names in RIGHT.items():
        yield Attack(f"text {text[:40]!r}", partial(_parse, value=text), partial(_are, names=names))
    for text in WRONG:
        yield Attack(f"text {text[:40]!r} ({len(text)})", partial(_parse, value=text), may_pass=False)
    for number, text in enumerate(_random_texts(300)):
        yield Attack(f"text {number}: {text!r}", partial(_parse, value=text), _are_clean)
    for number, value in enumerate(OBJECTS):
        yield Attack(f"value {number}: {str(value)[:40]}", partial(_parse, value=value), may_pass=False)
    yield from _files()


def _parse(folder: Path, value: Any) -> Vocabulary:
    return Vocabulary.of(value)


def _are(vocabulary: Vocabulary, names: tuple[tuple[str, ...], ...]) -> bool:
    return tuple(category.names for category in vocabulary.categories) == names


def _are_clean(vocabulary: Vocabulary) -> bool:
    """No name is empty, has spaces at its ends or what nobody can see, or is given twice."""
    names = [*vocabulary.names, *vocabulary.negatives]
    kinds = {unicodedata.category(letter) for name in names for letter in name}
    return (
        len(vocabulary) > 0
        and all(name and name == name.strip() for name in names)
        and not kinds & {"Cc", "Cs"}
        and len({unicodedata.normalize("NFKC", name).casefold() for name in vocabulary.names}) == len(vocabulary.names)
        and not any(mark in name for name in vocabulary.names for mark in ";,\n\u200b\u202e\ufeff")
    )


def _random_texts(count: int) -> Iterator[str]:
    chosen = random.Random(0)
    seen: set[str] = set()
    while len(seen) < count:
        text = "".join(chosen.choices(ALPHABET, k=chosen.randint(1, 12)))
        if text not in seen:
            seen.add(text)
            yield text


def _read(folder: Path, name: str, data: bytes) -> Vocabulary:
    path = folder / name
    path.write_bytes(data)
    return read_names(path).vocabulary


def _files() -> Iterator[Attack]:
    text = "cat,kitten\nsky=stuff\nröd ros\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp037"):
        named = encoding.startswith("utf-8")
        read = partial(_read, name="names.txt", data=text.encode(encoding))
        yield Attack(
            f"{encoding} file", read, lambda v: v.names == ("cat", "kitten", "sky", "röd ros"), "names.txt", named
        )
    for ending in ("\r\n", "\r", "\n\n\n", "\u2028"):
        read = partial(_read, name="names.txt", data=text.replace("\n", ending).encode())
        yield Attack(f"lines end in {ending!r}", read, lambda v: len(v) == 3, "names.txt")
    for what, data in (*truncations(b"0:cat,kitten\n1:dog\n2:bird\n", 8), *bit_flips(text.encode(), 24)):
        yield Attack(f"lines, {what}", partial(_read, name="names.txt", data=data), _are_clean, "names.txt")
    for name, document in DOCUMENTS.items():
        for what, odd in odd_documents(document):
            data = json.dumps(odd).encode()
            yield Attack(f"{name}, {what}", partial(_read, name=name, data=data), _are_clean, name)
        for what, data in truncations(json.dumps(document).encode(), 6):
            yield Attack(f"{name}, {what}", partial(_read, name=name, data=data), _are_clean, name)
    yield Attack(
        "17 MiB", partial(_read, name="names.txt", data=b"a,b\n" * (17 << 18)), named="names.txt", may_pass=False
    )
    yield Attack("no file", lambda folder: read_names(folder / "names.txt"), named="names.txt", may_pass=False)
    yield Attack("folder", read_names, may_pass=False)
    yield Attack("NUL in the path", lambda folder: read_names("a\0b"), may_pass=False)
    yield Attack("device", lambda folder: read_names("/dev/zero"), named="/dev/zero", may_pass=False)
