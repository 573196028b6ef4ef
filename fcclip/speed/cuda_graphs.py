"""CUDA graphs: the thousands of kernels of a forward pass launched at once, where launching them takes the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fcclip.modeling.constants import collected_constants
from fcclip.modeling.decoded import Decoded

MAX_GRAPHS = 4  # each keeps the memory of a whole forward pass
WARM_UP_RUNS = 3  # in the first runs kernels are compiled and chosen, which no graph can hold

Function: TypeAlias = Callable[[Tensor], Decoded]


class CudaGraph:
    """A function of a tensor, recorded for one shape. It must not wait for the GPU, nor depend on values.

    Args:
        function: is run a few times, and recorded.
        example: a tensor of the shape.
    """

    def __init__(self, function: Function, example: Tensor) -> None:
        with torch.inference_mode(False):  # what is written to later must be an ordinary tensor
            self._input = torch.empty_like(example)
        self._input.copy_(example)
        stream = torch.cuda.Stream(example.device)
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                function(self._input)
        torch.cuda.current_stream(example.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile, such as the one that pins the memory of the next images.
        recording = torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local")
        # The graph reads constants where they lie, and so has to keep them.
        with collected_constants() as self._constants, recording:
            self._outputs = function(self._input)

    def __call__(self, x: Tensor) -> Decoded:
        """The function of another tensor of that shape; the results are the caller's own."""
        self._input.copy_(x)
        self._graph.replay()
        return self._outputs.map(Tensor.clone)


class GraphCache:
    """Records a function for every shape that it meets, and forgets the shape that was not used for longest.

    Args:
        function: of one tensor.
        capacity: shapes that are kept.
        record: makes the replay for the shape of an example.
    """

    def __init__(
        self, function: Function, capacity: int = MAX_GRAPHS, record: Callable[[Function, Tensor], Function] = CudaGraph
    ) -> None:
        self._function, self._capacity, self._record = function, capacity, record
        self._replays: dict[tuple[torch.Size, torch.dtype], Function] = {}  # the last used one last

    def __call__(self, x: Tensor, only: Any = None) -> Decoded:
        """The function of a tensor, and of nothing else: a graph does the same whatever is asked for."""
        key = (x.shape, x.dtype)
        replay = self._replays.pop(key, None)
        if replay is None:
            if len(self._replays) == self._capacity:  # before the next is made, so that its memory is free
                del self._replays[next(iter(self._replays))]
            replay = self._record(self._function, x)
        self._replays[key] = replay
        return replay(x)
