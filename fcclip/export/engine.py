"""Who runs the graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

ENGINES = ("onnxruntime",)
Arrays = dict[str, np.ndarray]


class Graph(Protocol):
    """A graph that is ready to run."""

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Inputs by name -> outputs by name."""


class OnnxRuntimeGraph:
    """A graph on onnxruntime's CPU.

    Args:
        path: the ONNX file.
        threads: 0 for one per core.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        ValueError: it cannot read the file.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "exported models run on onnxruntime: pip install onnxruntime", name=error.name
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # of what it warns, nothing can be changed
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - its errors share no base class
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"onnxruntime {onnxruntime.__version__} cannot read {path}: {reason}; update it, or export the model "
                "again"
            ) from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))


def open_graph(path: Path, engine: str, threads: int = 0) -> Graph:
    """Open a graph on an engine.

    Raises:
        ValueError: there is no engine of that name, or it cannot read the file.
    """
    if engine not in ENGINES:
        raise ValueError(f'there is no engine "{engine}"; choose one of {", ".join(ENGINES)}')
    return OnnxRuntimeGraph(path, threads)
