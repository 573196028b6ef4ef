"""What docs/video.md says is tried as it is written."""

import re

from fcclip.commands.demo import parse_arguments
from fcclip.config import get_cfg
from fcclip.evaluation.video_files import MEANINGS
from tests.tiny import REPOSITORY

PAGE = (REPOSITORY / "docs" / "video.md").read_text(encoding="utf-8")


def test_the_python_example_runs():
    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(block, names)
    assert len(names["found"]) > 0
    assert names["picture"].shape == (128, 128, 3)
    assert all(track >= 1 for track, _ in names["found"])


def test_flags_and_keys_exist():
    rows = re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)
    flags = [flag for flag in rows if flag not in ("--video-input", "--webcam")]
    assert {"--no-tracks", "--look-ahead", "--every", "--save-tracks", "--json", "--resume", "--whole"} == set(flags)
    parse_arguments(
        ["--webcam", "--no-tracks", "--look-ahead", "3", "--every", "2", "--save-tracks", "f", "--json", "f.json"]
    )
    cfg = get_cfg()
    for key in ("TRACKING", "MASK_FORMER.TEST.KEEP_MASKS", "FC_CLIP.ALL_VOCABULARY_VOID", "MASK_FORMER.TEST.TASK"):
        assert key.rsplit(".", 1)[-1] in PAGE
        node = cfg.MODEL
        for part in key.split("."):
            node = node[part]
    for measure in MEANINGS:
        assert f"`{measure}`" in PAGE


def test_files_that_are_named_exist():
    for path in re.findall(r"configs/[\w/.-]+\.yaml|tools/\w+\.py", PAGE):
        assert (REPOSITORY / path).is_file(), path
    for path in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (REPOSITORY / "docs" / path).exists(), path
