from dataclasses import dataclass

import numpy as np
import torch

from fcclip.serving.memory import held_bytes


@dataclass
class Pair:
    tensor: torch.Tensor
    maps: list[np.ndarray]


def test_tensors_and_arrays_are_counted_wherever_they_are() -> None:
    pair = Pair(torch.zeros(2, 3), [np.zeros((4, 4), np.uint8)])
    assert held_bytes({"pair": pair, "text": "not counted", "none": None}) == 24 + 16


def test_a_view_counts_as_what_it_keeps_in_memory_and_a_shared_buffer_once() -> None:
    tensor, array = torch.zeros(10, 10), np.zeros((10, 10))
    assert held_bytes([tensor[0], tensor[1:]]) == 400
    assert held_bytes((array[0], array)) == 800
