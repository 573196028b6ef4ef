"""The tokens are those of open_clip's tokenizer."""

from pathlib import Path

import numpy as np
import open_clip
import pytest

from fcclip.export.tokenizer import Tokenizer

PROMPTS = [
    "a photo of a cat.",
    "This is a photo of a large  Traffic-Light",
    "There's the dog's bowl; it's 24 cm, isn't it?",
    "crosswalk (plain) & bollard_2 #5",
    "naïve café, Straße, 日本語, ½ cup, x² and 🐈",
    "&lt;b&gt; 100% 'tis we'll they've I'd",
    "",
    "word " * 90,
]


@pytest.fixture(scope="module")
def merges() -> list[tuple[str, str]]:
    return list(open_clip.get_tokenizer("RN50").bpe_ranks)


def test_tokens_are_those_of_open_clip(merges: list[tuple[str, str]]) -> None:
    theirs = open_clip.get_tokenizer("RN50")(PROMPTS).numpy()
    np.testing.assert_array_equal(Tokenizer(merges, 77)(PROMPTS), theirs)


def test_a_file_of_merges_is_read_back(merges: list[tuple[str, str]], tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    path.write_text("".join(f"{first} {second}\n" for first, second in merges), encoding="utf-8")
    np.testing.assert_array_equal(Tokenizer.read(path, 32)(PROMPTS[:2]), Tokenizer(merges, 32)(PROMPTS[:2]))
    path.write_text("a b\nc\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 is no pair"):
        Tokenizer.read(path, 32)
