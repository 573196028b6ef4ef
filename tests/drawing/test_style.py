"""Wrong choices are refused."""

from typing import Any

import pytest

from fcclip.drawing.style import DrawStyle


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"alpha": 1.5}, "between 0 and 1"),
        ({"labels": "below"}, 'labels is one of on, legend, both, none, not "below"'),
        ({"palette": "grey"}, "palette is one of"),
        ({"view": "depth"}, "view is one of"),
        ({"transparent": True, "side_by_side": True}, "no picture beside it"),
        ({"classes": "cat"}, r'such as \("cat",\)'),
        ({"font": "nowhere.ttf"}, "no font file nowhere"),
    ],
)
def test_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawStyle(**choices)
