"""What all evaluators share: an image is measured once, into something small that can be stored, sent and added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

# What is known about one image after it was compared: only dicts, lists, strings, ints, floats and None, so that
# it can be written to a journal as a line of JSON and be read back exactly.
ImageStatistics = dict[str, Any]
Results = dict[str, dict[str, float]]
NAN_ADVICE = "its weights are damaged, or half precision overflowed: evaluate in float32"


@dataclass(frozen=True)
class Comparison:
    """Ground truth and prediction of an image, for people to look at.

    Attributes:
        true, predicted: (H, W) int32 contiguous class ids, -1 where there is none.
        true_segments, predicted_segments: (H, W) int32 ids of segments, to draw their outlines.
    """

    true: np.ndarray
    predicted: np.ndarray
    true_segments: np.ndarray
    predicted_segments: np.ndarray


class ImageEvaluator(DatasetEvaluator):
    """A Detectron2 evaluator in four steps: measure an image, add it up, merge processes, take the result.

    A subclass sets `name` and writes `truth_files`, `reset`, `measure`, `add`, `state`, `merge` and `results`;
    Detectron2's `process` and `evaluate` follow from these.

    Attributes:
        name: names its statistics in a journal; unique among the evaluators of a data set.
        conventions: what a reader of the report must know about how a metric is defined: metric -> sentence.
    """

    name: str
    conventions: Mapping[str, str] = {}

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        """The files that hold the ground truth of these images."""
        raise NotImplementedError

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Compare the model's `output` for the image of `record` with the ground truth; changes nothing here."""
        raise NotImplementedError

    def add(self, statistics: ImageStatistics) -> None:
        """Add the statistics of one image."""
        raise NotImplementedError

    def state(self) -> Any:
        """All that was added, to be sent to another process."""
        raise NotImplementedError

    def merge(self, state: Any) -> None:
        """Add the state of another process."""
        raise NotImplementedError

    def results(self) -> Results:
        """Metrics of all images added: task -> metric -> value (0 to 100; NaN where undefined)."""
        raise NotImplementedError

    def score(self, statistics: ImageStatistics) -> float | None:
        """How good one image is, 0 to 1, for the page of the worst images; None if this evaluator cannot say."""
        return None

    def compare(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> Comparison:
        """What `score` judged; only for evaluators that can say a score."""
        raise NotImplementedError

    def confusion_matrix(self) -> tuple[np.ndarray, Sequence[str]] | None:
        """(C + 1, C) pixels, [predicted, true], and the C names of classes; None if this evaluator counts no pixels."""
        return None

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        for record, output in zip(inputs, outputs, strict=True):
            self.add(self.measure(record, output))

    def evaluate(self) -> Results:
        """Results over all processes, in the main process; {} in the others. Every process must call it."""
        self.gather()
        return self.results() if comm.is_main_process() else {}

    def gather(self) -> None:
        """Bring what all processes have added into the main process."""
        states = comm.gather(self.state())
        if comm.is_main_process():
            self.reset()
            for state in states:
                self.merge(state)


def require_output(output: Mapping[str, Any], key: str, switch: str) -> Any:
    """`output[key]`, or a ValueError that names the switch which makes the model return it."""
    if output.get(key) is None:
        raise ValueError(f'the model returned no "{key}"; set MODEL.MASK_FORMER.TEST.{switch} True to evaluate it')
    return output[key]
