"""Windows over an image, and the size of the result."""

import pytest
import torch
import torch.nn.functional as F

from fcclip.inference.bands import window_starts
from fcclip.inference.sliding import Windows, resize_scores, resized_labels


@pytest.mark.parametrize(
    ("size", "expected"),
    [(512, [0]), (513, [0, 1]), (683, [0, 171]), (938, [0, 426]), (939, [0, 426, 427]), (300, [0])],
)
def test_windows_of_an_axis(size, expected) -> None:
    assert window_starts(size, 512, 426) == expected


def test_pixelwise_scores_are_not_changed() -> None:
    """What depends on the pixel alone is the same in every window, so the average is it."""
    image = torch.randn(3, 50, 70)
    windows = Windows.of(image, 32, 20)
    crops = list(windows.crops(image))
    torch.testing.assert_close(windows.average(2 * batch for batch in crops), 2 * image)
    assert {batch.shape[-2:] for batch in crops} == {(32, 32)}
    assert sum(len(batch) for batch in crops) == 2 * 3


def test_a_small_image_is_one_window() -> None:
    image = torch.randn(3, 20, 70)
    windows = Windows.of(image, 32, 20)
    assert windows.window_size == (20, 32)
    torch.testing.assert_close(windows.average(windows.crops(image)), image)


@pytest.mark.parametrize("output", [(37, 90), (20, 70), (20, 33), (61, 70)])
def test_resizing_in_bands(output) -> None:
    scores = torch.randn(5, 20, 70)
    expected = F.interpolate(scores[None], size=output, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resize_scores(scores, output, 4000), expected, atol=1e-4, rtol=1e-4)
    assert (resized_labels(scores, output, 4000) != expected.argmax(dim=0)).sum() <= 1
