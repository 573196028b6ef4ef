"""The table of docs/video.md in small: what votes and identities are worth with the shipped model."""

import pytest

import tools.video_claims as claims
from fcclip.data.panoshapes.clips import CLIP_SPLITS, ClipSplit

ALONE, SLOTS, _, PAST, AHEAD, WHOLE = claims.RULES


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Rule -> measure -> value of one clip of eight frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCCLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(CLIP_SPLITS, "clips_a", ClipSplit("clips_a", 2001, clips=1, frames=8))
        return claims.measure(claims.Bench.of("panoshapes", "cpu", 192), claims.SETS[0])


def test_identities_lift_tubes_and_votes_lift_names(result):
    assert result[ALONE]["VPQ_1"] == pytest.approx(result[SLOTS]["VPQ_1"])  # the same frames, other ids
    assert result[SLOTS]["VPQ_8"] > result[ALONE]["VPQ_8"]
    assert result[AHEAD]["VPQ_4"] >= result[SLOTS]["VPQ_4"]
    assert result[WHOLE]["VPQ_8"] >= result[AHEAD]["VPQ_8"]


def test_ids_hardly_change(result):
    assert result[ALONE]["switches"] == result[ALONE]["found again"] > 10
    for rule in (PAST, AHEAD, WHOLE):
        assert result[rule]["switches"] <= 0.1 * result[rule]["found again"]


def test_the_table_has_a_row_for_every_rule(result):
    lines = claims.table([result, result]).splitlines()
    assert len(lines) == 2 + len(claims.RULES)


def test_the_trackers_own_time_is_measured():
    assert 0 < claims.tracker_seconds(1, 1, queries=10, width=8) < 1
