"""Every attack ends with the right result, or with one clear sentence. `make attack` counts them."""

from pathlib import Path

import pytest
import torch

from fcclip.files.checkpoints import read_state_dict
from tests.attack.groups import GROUPS, outcomes
from tests.attack.weights import LEGACY, STATE


@pytest.mark.parametrize("group", GROUPS)
def test_every_input_is_answered_rightly_or_refused_clearly(group: str) -> None:
    ended = [(attack.name, verdict) for attack, verdict in outcomes(group)]
    assert len(ended) > 50
    assert not [(name, verdict) for name, verdict in ended if verdict not in ("right", "refused")]


def test_the_old_file_is_that_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "legacy.pth").write_bytes(LEGACY)
    state = read_state_dict(tmp_path / "legacy.pth")
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)
