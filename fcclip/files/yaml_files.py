"""Reading YAML as data: nothing in a file is run, and no small file becomes a large one in memory."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES = 1 << 20  # the largest published configuration has 6 kB
MAX_DEPTH = 50
MAX_VALUES = 100_000  # with every alias counted as often as it is used

# Mask2Former's files compute sizes with Python code, always in this form; it is read here, and not run.
_SIZES = re.compile(
    r"\[int\(x \* (?P<step>\d+(?:\.\d+)?) \* (?P<size>\d{1,5})\) for x in range\((?P<first>\d+), (?P<end>\d{1,3})\)\]"
)
_EVAL_TAG = "tag:yaml.org,2002:python/object/apply:eval"


class YamlError(ValueError):
    """A file is not YAML, or is YAML that would run code or fill the memory."""


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Returns:
        Mappings, lists, text, numbers, truth values, dates and None.

    Raises:
        FileNotFoundError: there is no such file.
        YamlError: it is no regular file, is too large, is not UTF-8 or not valid YAML, has Python tags, the same key
            twice, or aliases that multiply; one sentence that names the file and the line.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if not path.is_file():
        raise YamlError(f"{path} is not a regular file; give a YAML file")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YamlError(f"{path} is larger than {MAX_BYTES >> 20} MiB, which no YAML file that is read here is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise YamlError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """The content of YAML text; errors as in `read_yaml`, and start with `name`."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_bombs(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"{name}{_place(error)}: {_sentence(error)}") from None
    except yaml.YAMLError as error:  # a control character
        raise YamlError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError, AttributeError) as error:  # a date or a number that cannot be
        raise YamlError(f"{name} has a value that is none: {error}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with a bound on nesting, which refuses a key that is given twice."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"is nested more than {MAX_DEPTH} deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = (key_node.tag, key_node.value) if isinstance(key_node, yaml.ScalarNode) else id(key_node)
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key_node.value}" is given twice; join the two', problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_sizes(self, node: yaml.Node) -> list[int]:
        """Mask2Former's list of image sizes."""
        lines = [item.value for item in node.value] if isinstance(node, yaml.SequenceNode) else []
        match = _SIZES.fullmatch(lines[0].strip()) if len(lines) == 1 and isinstance(lines[0], str) else None
        if match is None:
            self.construct_tag(node)
        step, size = float(match["step"]), int(match["size"])
        return [int(x * step * size) for x in range(int(match["first"]), int(match["end"]))]

    def construct_tag(self, node: yaml.Node) -> NoReturn:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise yaml.MarkedYAMLError(
            problem=f"the tag {tag} asks for more than data, and nothing in a file is run; write the value itself",
            problem_mark=node.start_mark,
        )


_Loader.add_constructor(_EVAL_TAG, _Loader.construct_sizes)
_Loader.add_constructor(None, _Loader.construct_tag)


def _refuse_bombs(root: yaml.Node) -> None:
    """Count the values that a tree of nodes stands for, without making them."""
    counts: dict[int, int] = {}

    def count(node: yaml.Node) -> int:
        if id(node) in counts:
            if not counts[id(node)]:
                raise yaml.MarkedYAMLError(problem="an alias refers to what it is in", problem_mark=node.start_mark)
            return counts[id(node)]
        counts[id(node)] = 0  # until it is known
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        counts[id(node)] = 1 + sum(map(count, children))
        return counts[id(node)]

    if count(root) > MAX_VALUES:
        raise yaml.MarkedYAMLError(
            problem=f"its aliases stand for more than {MAX_VALUES} values; write them out", problem_mark=root.start_mark
        )


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "" if mark is None else f", line {mark.line + 1}"


def _sentence(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return " ".join(", ".join(parts).split()) or "not valid YAML"
