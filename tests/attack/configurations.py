"""YAML files from strangers, and a wrong value for every key."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from fcclip.config import get_cfg, load_cfg
from tests.attack.judge import SENTINEL, Attack
from tests.attack.mutations import bit_flips, truncations
from tests.tiny import PUBLISHED_CONFIGS

TAGS = (
    "object/apply:os.system [touch {}]",
    "object/apply:pathlib.Path.touch [{}]",
    "object/new:subprocess.Popen [[touch, {}]]",
    "name:os.system",
    "module:os",
    "object/apply:eval [\"open('{}', 'w')\"]",
    "object:os._wrap_close {{}}",
    "tuple [1, 2]",
)
OPTIONS = (
    ["MODEL.DEVICE"],
    ["MODEL.NOPE", "1"],
    ["", ""],
    ["MODEL", "5"],
    ["SEED", "x"],
    ["SEED", "[" * 10000],
    ["__class__", "1"],
    ["MODEL.__class__", "1"],
    ["SEED", "__import__('os')"],
    ["SEED", ""],
    ["A.B.C", "1"],
    [".", "1"],
    ["MODEL.", "1"],
)
TEXTS = {
    "nothing": "",
    "a comment": "# nothing\n",
    "a list": "- a\n- b\n",
    "text": "MODEL",
    "a number": "5",
    "null": "null",
    "two documents": "MODEL: {}\n---\nMODEL: {}\n",
    "a tab": "MODEL:\n\tDEVICE: cpu\n",
    "a key twice": "VERSION: 2\nVERSION: 2\n",
    "an open bracket": "MODEL: [1, 2",
    "no space": "MODEL:DEVICE\n",
    "a control character": "MODEL: \x07\n",
    "deep lists": "MODEL: " + "[" * 3000 + "]" * 3000,
    "deep mappings": "MODEL: " + "{a: " * 500 + "1" + "}" * 500,
    "aliases that multiply": "a: &a [x, x, x, x, x, x, x, x]\n"
    + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 8)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "an alias of itself": "a: &a [*a]\n",
    "an unknown alias": "a: *b\n",
    "a merge of text": "<<: text\n",
    "a base that is itself": "_BASE_: odd.yaml\n",
    "a base that is not there": "_BASE_: nowhere.yaml\n",
    "a base on the web": "_BASE_: https://example.org/a.yaml\n",
    "a base that is a folder": "_BASE_: .\n",
    "a base that is a number": "_BASE_: 5\n",
    "a base that is null": "_BASE_: null\n",
    "a base that is the device of zeros": "_BASE_: /dev/zero\n",
    "a base in a section": "MODEL: {_BASE_: a.yaml}\n",
    "an unknown key": "MODEL: {FCCLIP: {}}\n",
    "an unknown section": "FOO: {BAR: 1}\n",
    "a section that is a value": "MODEL: 5\n",
    "a section that is a list": "MODEL: [1]\n",
    "a section that is null": "MODEL: null\n",
    "a value that is a section": "VERSION: {A: 1}\n",
    "a key that is a number": "5: 5\n",
    "a key that is a list": "? [a]\n: 5\n",
    "a date": "OUTPUT_DIR: 2020-01-01\n",
    "a date that cannot be": "OUTPUT_DIR: 2020-13-45\n",
    "binary": "OUTPUT_DIR: !!binary aGVsbG8=\n",
    "a set": "DATASETS: {TEST: !!set {a, b}}\n",
    "not a number": "SOLVER: {BASE_LR: .nan}\n",
    "infinity": "SOLVER: {BASE_LR: .inf}\n",
    "a version that is text": "VERSION: two\n",
    "version 1": "VERSION: 1\n",
    "version 99": "VERSION: 99\n",
    "a number of 5000 digits": "SEED: " + "9" * 5000 + "\n",
}
KEPT_AS_TEXT = ("odd text", [], ["a", "b"], {}, 7, 2.5, True, None, "", -5)

PUBLISHED = PUBLISHED_CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"


def attacks() -> Iterator[Attack]:
    for number, tag in enumerate(TAGS):
        for place in ("OUTPUT_DIR: ", "MODEL: {WEIGHTS: ", "_BASE_: "):
            text = f"{place}!!python/{tag.format(SENTINEL)}" + ("}" if "{" in place else "") + "\n"
            yield Attack(
                f"tag {number} at {place}", partial(_load_and_look, text=text), named="odd.yaml", may_pass=False
            )
    for what, text in TEXTS.items():
        passes = what in ("nothing", "a comment", "version 1")
        yield Attack(what, partial(_load, text=text), named="odd.yaml" if "base" not in what else "", may_pass=passes)
    published = _without_base(PUBLISHED.read_bytes())
    for what, data in (*truncations(published, 20), *bit_flips(published, 60)):
        based = f"_BASE_: {PUBLISHED}\n".encode() + data
        yield Attack(f"published file, {what}", partial(_load_bytes, data=based), _keeps_kinds)
    for encoding in ("utf-16", "latin-1"):
        data = "OUTPUT_DIR: ä\n".encode(encoding)
        yield Attack(f"in {encoding}", partial(_load_bytes, data=data), named="odd.yaml", may_pass=False)
    yield from _values()
    for opts in OPTIONS:
        yield Attack(f"options {str(opts)[:40]}", partial(_load, text="VERSION: 2\n", opts=opts), may_pass=False)


def _load(folder: Path, text: str, opts: list[str] | None = None) -> CfgNode:
    return _load_bytes(folder, text.encode(), opts)


def _load_bytes(folder: Path, data: bytes, opts: list[str] | None = None) -> CfgNode:
    path = folder / "odd.yaml"
    path.write_bytes(data)
    return load_cfg(path, opts or [])


def _without_base(data: bytes) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"_BASE_"))


def _load_and_look(folder: Path, text: str) -> CfgNode:
    try:
        return _load(folder, text)
    finally:
        assert not SENTINEL.exists(), "THE FILE WAS RUN"


def _keeps_kinds(cfg: CfgNode) -> bool:
    """Every value is still of the kind of its key."""
    kinds = {key: type(value) for key, value in _leaves(get_cfg(), "") if value is not None}
    same = {bool: bool, int: int, float: float, str: str}
    return all(isinstance(value, same.get(kinds.get(key, object), object)) for key, value in _leaves(cfg, ""))


def _leaves(node: CfgNode, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _values() -> Iterator[Attack]:
    """A wrong kind of value for every key: refused with the key's name."""
    for key, value in _leaves(get_cfg(), ""):
        if value is None or isinstance(value, list | tuple):
            wrong: tuple[Any, ...] = (5, "text", {"a": 1})
        elif isinstance(value, bool):
            wrong = ("maybe", 3, [True])
        elif isinstance(value, int):
            wrong = ("seven", 1.5, [1])
        elif isinstance(value, float):
            wrong = ("half", [0.5], {"a": 1})
        else:
            wrong = (5, ["a"], {"a": 1})
        for odd in wrong if value is not None else ():
            text = _nested(key, odd)
            yield Attack(f"{key} = {odd!r}", partial(_load, text=text), named=key, may_pass=False)


def _nested(key: str, value: Any) -> str:
    for part in reversed(key.split(".")):
        value = {part: value}
    return yaml.safe_dump(value)
