"""A Detectron2 configuration node that takes files as data and changes as a whole or not at all."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from detectron2.config import CfgNode

from fcclip.files.yaml_files import parse_yaml, read_yaml

BASE_KEY = "_BASE_"
MAX_FILES = 50  # that a file may name by _BASE_, directly or through others

_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_KINDS: dict[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number with a point",
    str: "text",
    list: "a list",
    tuple: "a list",
}


class ConfigError(ValueError):
    """A configuration file, key or value that cannot be used; one sentence that names it."""


class UnknownKeyError(ConfigError, KeyError):
    """A key that no part of the program reads."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put it in quotes


class SafeNode(CfgNode):
    """Detectron2's `CfgNode`, except that files are data and mistakes are told before anything has changed.

    Python tags are never run, whatever `allow_unsafe` says, nor are `.py` files; `_BASE_` names local files only.

    Attributes:
        choices: the values that a key may have, by its full name.
    """

    choices: ClassVar[Mapping[str, Sequence[str]]] = {}

    def merge_from_file(self, cfg_filename: str | Path, allow_unsafe: bool = False) -> None:
        """Merge a YAML file and the files that it names under `_BASE_`.

        Args:
            cfg_filename: a file on this machine.
            allow_unsafe: is there for those who call Detectron2's method, and has no effect.

        Raises:
            FileNotFoundError: the file, or a base of it, does not exist.
            ValueError: a file is not valid, or a key or value in it; nothing is merged then.
        """
        files = list(_read_with_bases(Path(cfg_filename).expanduser(), cfg_filename))
        for path, content in files:
            version = content.get("VERSION", self.VERSION)
            if type(version) is not int or not 1 <= version <= self.VERSION:
                raise ConfigError(f"{path}: VERSION is {version!r}; a configuration has version {self.VERSION}")
        loaded = type(self)(_join(files))
        if loaded.get("VERSION", self.VERSION) != self.VERSION or _has_first_names(loaded):
            super().merge_from_file(str(cfg_filename))  # renames the keys of Detectron2's first version
            return
        for path, content in files:
            self._check(content, f"{path}: ")
        super().merge_from_other_cfg(loaded)

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        """Merge another node; errors as in `merge_from_file`."""
        self._check(cfg_other, "")
        super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list: Sequence[Any]) -> None:
        """Merge keys and values in turn, such as `["SOLVER.BASE_LR", 0.1]`; errors as in `merge_from_file`."""
        flag = next((key for key in cfg_list[0::2] if str(key).startswith("--")), None)
        if flag is not None:
            raise ConfigError(f"{flag} stands behind pairs of key and value; write flags before them")
        if len(cfg_list) % 2:
            raise ConfigError(f"options come in pairs of key and value, but {cfg_list[-1]!r} has no value")
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            if isinstance(value, dict):
                raise ConfigError(
                    f"{key} is given as a mapping; give its keys one by one, like {key}.{next(iter(value), 'KEY')}"
                )
            content = value
            for part in reversed(str(key).split(".")):
                content = {part: content}
            self._check(content, "")
        super().merge_from_list(list(cfg_list))

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """The content of a file with that of its bases; nothing in them is run, whatever `allow_unsafe` says."""
        return _join(list(_read_with_bases(Path(filename).expanduser(), filename)))

    @classmethod
    def _load_cfg_from_yaml_str(cls, str_obj: str) -> SafeNode:
        return cls(_as_mapping(parse_yaml(str_obj, "the configuration"), "the configuration"))

    @classmethod
    def _load_cfg_py_source(cls, filename: str) -> SafeNode:
        raise ConfigError(f"{filename} is a Python program, and nothing in a file is run; give a YAML file")

    @classmethod
    def _decode_cfg_value(cls, value: Any) -> Any:
        try:
            return super()._decode_cfg_value(value)
        except (MemoryError, RecursionError):  # text of ten thousand brackets
            return value

    def _check(self, content: Mapping[Any, Any], where: str) -> None:
        """Refuse what does not fit the keys that are here; `where` starts the sentence."""
        for parts, present, value in _pairs(content, self, ()):
            name = ".".join(map(str, parts))
            if present is _MISSING:
                if not self.key_is_deprecated(name) and not self.key_is_renamed(name):
                    raise UnknownKeyError(f"{where}{_unknown(name, self)}")
                continue
            decoded = self._decode_cfg_value(value)
            _check_value(name, present, decoded, where)
            allowed = self.choices.get(name)
            if allowed is not None and decoded not in allowed:
                raise ConfigError(f"{where}{name} is {_short(decoded)}; choose one of {', '.join(allowed)}")


_MISSING = object()


def make_safe(cfg: CfgNode, kind: type[SafeNode]) -> None:
    """Let a node of Detectron2, and all nodes in it, be of `kind`."""
    object.__setattr__(cfg, "__class__", kind)  # its own __setattr__ adds keys
    for value in cfg.values():
        if isinstance(value, CfgNode):
            make_safe(value, kind)


def _has_first_names(content: Mapping[str, Any]) -> bool:
    """Whether keys have names that Detectron2 gave up with its second version, which it can still convert."""
    first_names = {"MODEL": "WEIGHT", "TEST": "AUG_ON"}
    return any(isinstance(content.get(part), dict) and key in content[part] for part, key in first_names.items())


def _read_with_bases(path: Path, name: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files that a file builds on, the first one first, and itself at last."""
    if _ADDRESS.match(str(name)):
        raise ConfigError(f"{name} is an address; fetch the file, look at it and give its path")
    if not path.exists():
        raise FileNotFoundError(f"there is no configuration file {name}")
    left = [MAX_FILES]

    def read(path: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
        if path.resolve() in above:
            raise ConfigError(f"{path}: {BASE_KEY} leads back to the file itself; a file cannot build on itself")
        left[0] -= 1
        if left[0] < 0:
            raise ConfigError(f"{path}: more than {MAX_FILES} files are named by {BASE_KEY}")
        content = _as_mapping(read_yaml(path), str(path))
        for base in _bases(content.pop(BASE_KEY, []), path):
            yield from read(base, (*above, path.resolve()))
        yield path, content

    return read(path, ())


def _bases(value: Any, path: Path) -> list[Path]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{path}: {BASE_KEY} is {_short(name)}; name a YAML file, relative to this one")
        if _ADDRESS.match(name):
            raise ConfigError(f"{path}: {BASE_KEY} is the address {name}; fetch the file and name it by its path")
    bases = [path.parent / Path(name).expanduser() for name in names]
    for base in bases:
        if not base.is_file():
            raise FileNotFoundError(f"{path}: {BASE_KEY} is {base}, which is no file; check the path")
    return bases


def _as_mapping(content: Any, name: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"is {_kind(content)}"
        raise ConfigError(f"{name} {what}; a configuration has keys and values, like MODEL: {{WEIGHTS: model.pth}}")
    _check_plain(content, name, "", in_list=False)
    return content


def _check_plain(value: Any, name: str, key: str, in_list: bool) -> None:
    """Keys are text (but in a list, where mappings are values), and values are what a configuration can hold."""
    if isinstance(value, dict):
        for inner, content in value.items():
            if not isinstance(inner, str) and not in_list:
                raise ConfigError(f"{name}: the key {key}{inner} is not a word; fcclip/config.py describes all keys")
            _check_plain(content, name, f"{key}{inner}.", in_list)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, name, key, in_list=True)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name}: {key[:-1]} is {value}, which is no number")
    elif not isinstance(value, bool | int | float | str | None):
        raise ConfigError(f"{name}: {key[:-1]} is a {type(value).__name__}; put quotes around {value} if it is a name")


def _join(files: Sequence[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for _, content in files:
        _merge(content, joined)
    return joined


def _merge(content: Mapping[str, Any], into: dict[str, Any]) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            inner = into.get(key)
            into[key] = dict(inner) if isinstance(inner, dict) else {}
            _merge(value, into[key])
        else:
            into[key] = value


def _pairs(content: Mapping[Any, Any], node: CfgNode, parts: tuple[Any, ...]) -> Iterator[tuple[Any, Any, Any]]:
    """Every key of `content` that is no section with its full name, the present value or `_MISSING`, and its value."""
    for key, value in content.items():
        present = node.get(key, _MISSING)
        if present is _MISSING and node.is_new_allowed():
            continue
        if isinstance(present, CfgNode) and isinstance(value, dict):
            yield from _pairs(value, present, (*parts, key))
        else:
            yield (*parts, key), present, value


def _check_value(name: str, present: Any, value: Any, where: str) -> None:
    if isinstance(present, CfgNode) and not isinstance(value, dict):
        raise ConfigError(
            f"{where}{name} is {_short(value)}; it is a section of keys, like {name}.{next(iter(present))}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}{name} is {value}, which is no number")
    if present is None or type(value) is type(present):
        _check_items(name, present, value, where)
        return
    if isinstance(present, list | tuple) and isinstance(value, list | tuple):
        _check_items(name, present, value, where)
        return
    remedy = f"; write {float(value)}" if type(present) is float and type(value) is int else ""
    raise ConfigError(f"{where}{name} is {_short(value)}; it must be {_KINDS.get(type(present), 'a value')}{remedy}")


def _check_items(name: str, present: Any, value: Any, where: str) -> None:
    """A list of numbers stays a list of numbers, and a list of names a list of names."""
    if not isinstance(present, list | tuple) or not isinstance(value, list | tuple) or not present:
        return
    for fits, kind in ((_is_number, "numbers"), (_is_text, "names in quotes")):
        wrong = [item for item in value if not fits(item)]
        if all(map(fits, present)) and wrong:
            raise ConfigError(f"{where}{name} has {_short(wrong[0])} in it; it must be a list of {kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _unknown(name: str, root: CfgNode) -> str:
    if name.rsplit(".", maxsplit=1)[-1] == BASE_KEY:
        return f"{BASE_KEY} can only stand at the top of a file"
    near = difflib.get_close_matches(name, list(_names(root, "")), n=1)
    return f"there is no key {name}" + (f"; did you mean {near[0]}?" if near else "")


def _names(node: CfgNode, prefix: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, CfgNode):
            yield from _names(value, f"{prefix}{key}.")


def _short(value: Any) -> str:
    text = "empty" if value is None or value == "" else f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
