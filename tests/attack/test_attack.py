"""Every attack ends with the right result, or with one clear sentence. `make attack` counts them."""

import pytest

from tests.attack.groups import GROUPS, outcomes


@pytest.mark.parametrize("group", GROUPS)
def test_every_input_is_answered_rightly_or_refused_clearly(group: str) -> None:
    ended = [(attack.name, verdict) for attack, verdict in outcomes(group)]
    assert len(ended) > 50
    assert not [(name, verdict) for name, verdict in ended if verdict not in ("right", "refused")]
