"""The class lists of the demo."""

from pathlib import Path

import pytest

from fcclip.data.builtin_vocabularies import BUILTIN_VOCABULARIES, builtin_vocabulary, join_vocabularies
from fcclip.vocabulary import Vocabulary


def test_sizes() -> None:
    sizes = {name: builtin_vocabulary(name) for name in BUILTIN_VOCABULARIES}
    assert {name: len(vocabulary) for name, vocabulary in sizes.items()} == {"coco": 133, "ade": 150, "lvis": 1203}
    things = {name: len(vocabulary.thing_ids) for name, vocabulary in sizes.items()}
    assert things == {"coco": 80, "ade": 100, "lvis": 1203}


def test_joined_in_the_published_order() -> None:
    user = Vocabulary.from_string("forklift; lawn=stuff")
    joined = join_vocabularies([user, *map(builtin_vocabulary, BUILTIN_VOCABULARIES)])
    assert len(joined) == 2 + 1486
    names = [category.name for category in joined.categories]
    first_stuff = 1 + 80 + 100 + 1203
    assert joined.thing_ids == frozenset(range(first_stuff))
    assert names[0] == "forklift"
    assert names[1] == builtin_vocabulary("coco").categories[0].name
    assert names[81] == next(c.name for c in builtin_vocabulary("ade").categories if c.is_thing)
    assert names[181] == builtin_vocabulary("lvis").categories[0].name
    assert names[first_stuff] == "lawn"
    assert names[first_stuff + 1] == next(c.name for c in builtin_vocabulary("coco").categories if not c.is_thing)
    assert joined.categories[-1] == [c for c in builtin_vocabulary("ade").categories if not c.is_thing][-1]


def test_names_from_another_folder(tmp_path: Path) -> None:
    lines = [f"{index}:thing number {index},synonym {index}" for index in range(1, 1204)]
    (tmp_path / "lvis_1203.txt").write_text("\n".join(lines))
    assert builtin_vocabulary("lvis", tmp_path).categories[4].names == ("thing number 5", "synonym 5")


def test_unknown_list() -> None:
    with pytest.raises(ValueError, match="coco, ade, lvis"):
        builtin_vocabulary("imagenet")
