"""The stand-in for Docker follows the instructions, and knows all that the Dockerfile has."""

import pytest

from tests.tiny import REPOSITORY
from tools import check_dockerfile
from tools.check_dockerfile import Image, follow, read_instructions

TEXT = """
# comment
ARG WORD="two words"
FROM python:3
RUN touch first \\
    second
ENV CACHE=/cache KIND=cpu
"""


def test_instructions_are_read() -> None:
    assert read_instructions(TEXT) == [
        ("ARG", 'WORD="two words"'),
        ("FROM", "python:3"),
        ("RUN", "touch first second"),
        ("ENV", "CACHE=/cache KIND=cpu"),
    ]


def test_commands_run_in_the_folder_with_nothing_of_this_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    image = Image(tmp_path, {})
    for name, argument in [*read_instructions(TEXT), ("WORKDIR", "/work"), ("RUN", "echo $WORD $CACHE $SECRET > said")]:
        follow(name, argument, image, {})
    assert (tmp_path / "first").exists()
    assert (tmp_path / "second").exists()
    assert (tmp_path / "work" / "said").read_text() == f"two words {tmp_path}/cache\n"
    follow("ARG", 'WORD="two words"', image, {"WORD": "other"})
    assert image.variables["WORD"] == "other"
    with pytest.raises(ValueError, match="VOLUME in the Dockerfile is not known"):
        follow("VOLUME", "/cache", image, {})


def test_the_dockerfile_copies_what_is_there_and_the_ignore_file_lets_in() -> None:
    allowed = (REPOSITORY / ".dockerignore").read_text().split()
    copied = [
        source
        for name, argument in read_instructions((REPOSITORY / "Dockerfile").read_text())
        if name == "COPY"
        for source in argument.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in allowed


def test_the_whole_way_on_a_small_dockerfile(tmp_path, monkeypatch, capsys) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    module = repository / "fcclip" / "data" / "panoshapes.py"
    module.parent.mkdir(parents=True)
    module.write_text("import sys; open(sys.argv[1], 'w').close()")
    (repository / "Dockerfile").write_text('WORKDIR /work\nCOPY fcclip fcclip\nENTRYPOINT ["true"]\n')
    monkeypatch.setattr(check_dockerfile, "REPOSITORY", repository)
    assert check_dockerfile.main(["--folder", str(tmp_path / "image")]) == 0
    assert (tmp_path / "image" / "work" / "scene.png").is_file()
    assert "fcclip segment scene.png" in capsys.readouterr().out
