"""The list of models, and the page that is made of it."""

import hashlib
from pathlib import Path

import pytest

from fcclip.commands.models import figures, main, model_zoo_page
from fcclip.zoo import published_models, weights_folder

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))


def test_the_page_is_that_of_the_data_file() -> None:
    text = (REPOSITORY / "MODEL_ZOO.md").read_text(encoding="utf-8")
    assert text == model_zoo_page(), "write it anew: python -m fcclip models --markdown > MODEL_ZOO.md"
    assert all(f"| `{name}` |" in text for name in published_models())


def test_the_list_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    weights_folder().mkdir()
    (weights_folder() / "fcclip_r50.pth").write_bytes(b"x" * 2000)
    assert main([]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["panoshapes"].split()[1:4] == ["here", "11", "MB"]
    assert rows["fcclip_r50"].split()[1:5] == ["here", "2", "kB", "Apache-2.0"]
    assert rows["fcclip_convnext_large"].split()[1:3] == ["-", "unknown"]
    assert "ADE20K PQ 26.8, AP 16.8, mIoU 34.1" in rows["fcclip_convnext_large"]
    assert "MIT" in rows["zegclip_coco_stuff_fully"]


def test_files_for_people_say_where(capsys: pytest.CaptureFixture[str]) -> None:
    main(["cascade_clip_voc12_inductive"])
    text = capsys.readouterr().out
    assert "panoshapes" not in text
    assert "no program can fetch cascade_clip_voc12_inductive: get the files from https://github.com/HVision" in text
    assert str(weights_folder() / "published" / "NAME.pth") in text


def test_what_is_here_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    weights_folder().mkdir()
    path = weights_folder() / "fcclip_r50.pth"
    path.write_bytes(b"weights")
    record = path.with_name("fcclip_r50.pth.sha256")
    record.write_text(f"{hashlib.sha256(b'weights').hexdigest()}  fcclip_r50.pth\n")
    assert main(["--check"]) == 0
    assert "fcclip_r50: as it was fetched" in capsys.readouterr().out
    path.write_bytes(b"WEIGHTS")
    assert main(["--check"]) == 1
    assert "of the last time" in capsys.readouterr().out


def test_wrong_calls_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in ((["nonesuch"], "no model nonesuch"), (["--fetch"], "needs the names")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
    assert main(["--fetch", "cascade_clip_voc12_inductive"]) == 1
    assert "fetch it by hand from" in capsys.readouterr().err


def test_figures() -> None:
    assert figures({"A": {"PQ": 1, "AP": 2.25}, "B": {"PQ": 3}}) == "A PQ 1.0, AP 2.2; B PQ 3.0"
    assert figures({}) == "none"
