"""Numbers of a command line, within limits."""

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from fcclip.flags import non_negative_number, positive_number, probability, whole_number


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (whole_number(0), "0", 0),
        (whole_number(1), "12", 12),
        (positive_number, "1e-3", 0.001),
        (non_negative_number, "0", 0.0),
        (probability, "1", 1.0),
        (probability, "0.5", 0.5),
    ],
)
def test_a_number_within_its_limits(read: Callable[[str], Any], text: str, value: float) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "reason"),
    [
        (whole_number(0), "-1", '"-1" is not a whole number of at least 0'),
        (whole_number(1), "0", '"0" is not a whole number of at least 1'),
        (whole_number(1), "1.5", '"1.5" is not a whole number of at least 1'),
        (whole_number(1), "many", '"many" is not a whole number of at least 1'),
        (positive_number, "0", '"0" is not a number above 0'),
        (positive_number, "inf", '"inf" is not a number above 0'),
        (positive_number, "nan", '"nan" is not a number above 0'),
        (non_negative_number, "-0.1", '"-0.1" is not a number of at least 0'),
        (probability, "1.01", '"1.01" is not a number from 0 to 1'),
        (probability, "half", '"half" is not a number from 0 to 1'),
    ],
)
def test_what_is_outside_is_told(read: Callable[[str], Any], text: str, reason: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{reason}$"):
        read(text)
