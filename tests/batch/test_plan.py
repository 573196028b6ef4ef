"""Plans: shards of a fixed size, images that are new come at the end, and no two of one name."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from fcclip.batch.items import Item
from fcclip.batch.plan import Plan, make_plan, read_plan, read_shard
from fcclip.batch.store import Store


def items(*names: str) -> list[Item]:
    return [Item(name, f"/in/{name}") for name in names]


def test_images_keep_their_places(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_plan(store) is None
    assert make_plan(store, lambda: items("b.png", "d.png", "e.png"), 2) == Plan((2, 1), 2)
    plan = make_plan(store, lambda: items("a.png", "b.png", "c.png", "d.png", "e.png", "f.png"), 5)
    assert plan == Plan((2, 1, 2, 1), 2) == read_plan(store)
    found = [item.id for shard in range(4) for item in read_shard(store, shard)]
    assert found == ["b.png", "d.png", "e.png", "a.png", "c.png", "f.png"]
    assert plan.total == 6


@pytest.mark.parametrize("names", [("a/x.png", "b.png", "a/x.jpg"), ("a.png", "b.png", "a.png")])
def test_two_images_of_one_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r'two images are called "(a|a/x)": .*; rename one of them'):
        make_plan(Store(str(tmp_path)), lambda: items(*names), 2)
    assert read_plan(Store(str(tmp_path))) is None


def test_a_name_that_leads_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out of the folder"):
        make_plan(Store(str(tmp_path)), lambda: items("../a.png"), 2)


def test_a_shard_that_was_deleted(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    make_plan(store, lambda: items("a.png"), 2)
    store.remove("plan/00000000.parquet")
    with pytest.raises(ValueError, match="is missing; name another --output"):
        read_shard(store, 0)
