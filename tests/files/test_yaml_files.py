"""YAML is read as data, and a file that is none ends in one sentence with its name."""

import os
from pathlib import Path

import pytest

from fcclip.files.yaml_files import YamlError, parse_yaml, read_yaml

BOMB = "a0: &a0 [1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)


def test_plain_values_are_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("a: [1, 2.5, yes, null, text]\nb: &b {c: 1}\nd: *b\n")
    assert read_yaml(path) == {"a": [1, 2.5, True, None, "text"], "b": {"c": 1}, "d": {"c": 1}}


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch RAN']",
        '!!python/object/apply:eval [\'open("RAN", "w")\']',
        "!!python/object/new:subprocess.Popen [['touch', 'RAN']]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
        "!unknown {}",
    ],
)
def test_tags_are_refused_and_nothing_runs(tmp_path: Path, payload: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(YamlError, match=r"^file\.yaml, line 2: the tag !.*write the value itself$"):
        parse_yaml(f"a: 1\nx: {payload}\n", "file.yaml")
    assert list(tmp_path.iterdir()) == []


def test_the_sizes_of_mask2former_are_computed_without_running_them() -> None:
    text = 'sizes: !!python/object/apply:eval ["[int(x * 0.1 * 640) for x in range(5, 21)]"]'
    assert parse_yaml(text, "f")["sizes"] == [int(x * 0.1 * 640) for x in range(5, 21)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "f, line 1: its aliases stand for more than 100000 values; write them out"),
        ("a: &a [*a]", "f, line 1: an alias refers to what it is in"),
        ("a: &a {b: *a}", "f, line 1: an alias refers to what it is in"),
        ("[" * 5000, "f, line 1: is nested more than 50 deep"),
        ("a: 1\nb: 2\na: 3", 'f, line 3: the key "a" is given twice; join the two'),
        ("a: 1\n---\nb: 2", "f, line 2: expected a single document"),
        ("a:\n\t- 1", "f, line 2: while scanning for the next token"),
        ("a: \x00", "f is not valid YAML"),
        ("a: 2001-99-99", "f has a value that is none"),
        ("a: " + "9" * 5000, "f has a value that is none"),
        ("{[1]: 2}", "f, line 1: while constructing a mapping, found unhashable key"),
        ("{? {a: 1} : 2}", "f, line 1: while constructing a mapping, found unhashable key"),
    ],
)
def test_what_is_no_data_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(YamlError) as error:
        parse_yaml(text, "f")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.yaml"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(YamlError, match="is not a regular file"):
        read_yaml(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(YamlError, match="is not a regular file"):
        read_yaml(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: Möwe".encode("latin-1"))
    with pytest.raises(YamlError, match="save it as UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(YamlError, match="larger than 1 MiB"):
        read_yaml(tmp_path / "large.yaml")
