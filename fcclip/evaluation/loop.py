"""Run a model on a dataset and measure it; an interrupted run goes on from the images it had finished."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.data.catalog import Metadata
from detectron2.utils import comm
from detectron2.utils.logger import log_every_n_seconds
from torch import nn

from fcclip.data.mappers import InferenceMapper, VideoInferenceMapper
from fcclip.evaluation.base import Comparison, ImageEvaluator, ImageStatistics, Results
from fcclip.evaluation.build import build_evaluators, inference_folder
from fcclip.evaluation.class_names import ClassNames, class_names_of
from fcclip.evaluation.identity import evaluation_digest
from fcclip.evaluation.journal import Journal
from fcclip.evaluation.origin import Origin, describe_run
from fcclip.evaluation.report.pictures import Show, show_pictures
from fcclip.evaluation.report.tables import Report
from fcclip.evaluation.report.worst import BadImage, WorstImages
from fcclip.evaluation.timing import Stopwatch
from fcclip.files.places import require_writable_folder

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished"  # folder of what an interrupted evaluation has finished
SHOWN = 4  # images of a dataset that are shown while a training goes on
Record = Mapping[str, Any]
Model = Callable[[list[dict[str, Any]]], Sequence[Mapping[str, Any]]]


def evaluate(
    model: nn.Module,
    cfg: CfgNode,
    dataset_name: str,
    output_folder: str | Path | None = None,
    unseen: Sequence[int] | None = None,
    origin: Origin | None = None,
    show: Show | None = None,
) -> Results:
    """Evaluate a model on a dataset; every process must call it.

    Args:
        model: called with a list of one sample (see `InferenceMapper`), returns a list of one output: `sem_seg`,
            `panoptic_seg` and `instances`, as far as they are to be evaluated. If it has `set_metadata`, it is told the
            dataset's vocabulary, and keeps it afterwards.
        cfg: INPUT and DATALOADER of the test loader; MODEL.MASK_FORMER.TEST and TEST.
        dataset_name: a registered dataset.
        output_folder: for results.json, results.md, per_class.csv, plots and predictions; default
            OUTPUT_DIR/inference/DATASET.
        unseen: contiguous ids of classes not seen in training; default the metadata's `unseen_classes`, if any.
        origin: where the weights came from, for results.json; default the file MODEL.WEIGHTS.
        show: given pictures of the first images, (H, W, 3) uint8: image, ground truth and prediction side by side.

    Returns:
        Task -> metric -> value (0 to 100; NaN where undefined) in the main process, {} in the others.

    Raises:
        ValueError: results cannot be written; or the model's output does not fit the ground truth, or is NaN.
    """
    folder = Path(output_folder) if output_folder else inference_folder(cfg, dataset_name)
    require_writable_folder(folder)
    metadata = MetadataCatalog.get(dataset_name)
    core: Any = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    names = _ask_for_classes(core, metadata, cfg)
    records = DatasetCatalog.get(dataset_name)
    evaluators = build_evaluators(cfg, dataset_name, folder, unseen)
    # Processes of several machines may see other times of the files: that of the main process counts.
    digest = comm.all_gather(evaluation_digest(core, cfg, dataset_name, records, evaluators))[0]
    run = _Run(evaluators, folder / UNFINISHED, digest, cfg.TEST.WORST_IMAGES if cfg.TEST.PLOTS else 0)
    run.shown = {record["file_name"] for record in records[:SHOWN]} if show and comm.is_main_process() else set()
    with _labels_only(core), evaluation_mode(core):
        stopwatch = run.measure_images(core, cfg, records, resume=cfg.TEST.RESUME)
    results = run.gather()
    seconds = comm.gather(stopwatch.averages())
    if not comm.is_main_process():
        return {}
    about = describe_run(origin or Origin.of_file(cfg.MODEL.WEIGHTS), cfg, class_strings(core, metadata))
    report = Report.of(dataset_name, results, evaluators, len(records), seconds, digest, about)
    report = replace(report, names=names)
    report.write(folder)
    logger.info("%s", report.screen())
    if show:
        show_pictures(show, dataset_name, run.pictures, metadata)
    if cfg.TEST.PLOTS:
        # Imported here because it needs matplotlib, which importing this package must not.
        from fcclip.evaluation.report.plots import write_plots

        write_plots(folder, report, run.worst_images(), metadata)
    run.journal.remove()
    return results


@dataclass
class _Run:
    """The part of an evaluation that can be interrupted.

    Attributes:
        shown: files of the images of which pictures are wanted.
        pictures: file -> ground truth and prediction of these.
    """

    evaluators: Sequence[ImageEvaluator]
    scratch: Path
    digest: str
    worst_limit: int
    shown: set[str] = field(default_factory=set)
    pictures: dict[str, Comparison] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = Journal(self.scratch, self.digest)

    def measure_images(self, model: Model, cfg: CfgNode, records: Sequence[Record], resume: bool) -> Stopwatch:
        """Measure this process's share of the unfinished images; the main process adds up the finished ones."""
        finished = self._finished(resume)
        self._worst = {
            evaluator.name: WorstImages(self.scratch / evaluator.name, self.worst_limit, comm.get_rank())
            for evaluator in self.evaluators
        }
        by_file = {record["file_name"]: record for record in records}
        remaining = [record for record in records if record["file_name"] not in finished]
        if finished:
            logger.info("going on from %d finished images; %d remain", len(finished), len(remaining))
        for statistics in finished.values() if comm.is_main_process() else ():
            self._add(statistics)
        stopwatch = Stopwatch()
        if remaining:
            mapper = (VideoInferenceMapper if "frames" in remaining[0] else InferenceMapper)(cfg)
            loader = build_detection_test_loader(
                dataset=remaining, mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS
            )
            with self.journal.open(comm.get_rank()) as journal:
                for batch, outputs in _predictions(model, loader, stopwatch):
                    for sample, output in zip(batch, outputs, strict=True):
                        record = by_file[sample["file_name"]]
                        journal.append(record["file_name"], self._measure(record, output))
                    stopwatch.stop_images(len(batch))
        return stopwatch

    def gather(self) -> Results:
        """Results of all processes, in the main process; {} elsewhere."""
        results: Results = {}
        for evaluator in self.evaluators:
            results |= evaluator.evaluate()
        return results

    def worst_images(self) -> dict[str, list[BadImage]]:
        """Evaluator's name -> the worst images of all processes, worst first; without evaluators that have none."""
        images = {name: worst.all_processes() for name, worst in self._worst.items()}
        return {name: found for name, found in images.items() if found}

    def _finished(self, resume: bool) -> dict[str, dict[str, ImageStatistics]]:
        """What the main process finds on disk, in every process."""
        finished: dict[str, dict[str, ImageStatistics]] = {}
        if comm.is_main_process():
            if not resume:
                self.journal.remove()
            finished = self.journal.read()
        # The others only need to know which images they are; this also makes them wait for the clean-up.
        names = comm.all_gather(list(finished))[0]
        return finished if comm.is_main_process() else {name: {} for name in names}

    def _measure(self, record: Record, output: Mapping[str, Any]) -> dict[str, ImageStatistics]:
        statistics = {evaluator.name: evaluator.measure(record, output) for evaluator in self.evaluators}
        self._add(statistics)
        for evaluator in self.evaluators:
            score = evaluator.score(statistics[evaluator.name])
            if score is None:
                continue
            compare = partial(evaluator.compare, record, output)
            self._worst[evaluator.name].offer(score, record["file_name"], compare)
            if record["file_name"] in self.shown and record["file_name"] not in self.pictures:
                self.pictures[record["file_name"]] = compare()
        return statistics

    def _add(self, statistics: Mapping[str, ImageStatistics]) -> None:
        for evaluator in self.evaluators:
            evaluator.add(statistics[evaluator.name])


def class_strings(model: Any, metadata: Metadata) -> list[str]:
    """The classes that a model was asked for: its vocabulary if it says it, else the dataset's."""
    vocabulary = getattr(model, "vocabulary", None)
    if vocabulary is not None:
        return list(vocabulary.class_strings)
    return list(metadata.get("stuff_classes") or metadata.get("thing_classes") or ())


def _predictions(
    model: Model, loader: Any, stopwatch: Stopwatch
) -> Iterator[tuple[list[dict[str, Any]], Sequence[Mapping[str, Any]]]]:
    """Batches and what the model says about them, with a line in the log every few seconds."""
    for done, batch in enumerate(loader, start=1):
        stopwatch.start_model()
        outputs = model(batch)
        stopwatch.stop_model()
        yield batch, outputs
        seconds = stopwatch.averages()
        log_every_n_seconds(
            logging.INFO,
            f"{done} of {len(loader)} batches, {seconds['total']:.3f} s per image, the model {seconds['pure']:.3f} s",
            n=10,
            name=__name__,
        )


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Evaluation mode and no gradients; the model is in its former mode afterwards."""
    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()


def _ask_for_classes(model: Any, metadata: Any, cfg: CfgNode) -> ClassNames | None:
    """Ask a model that can be asked for the classes of a dataset; which names they have is told in the log."""
    if hasattr(model, "set_metadata"):
        model.set_metadata(metadata)
    names = class_names_of(model, metadata, cfg.MODEL.FC_CLIP.VOCABULARY_DIR)
    if names is not None:
        logger.info("%s: %s", metadata.name, names.sentence())
    return names


def _labels_only(model: Any) -> AbstractContextManager[None]:
    """Let a model that can do so return label maps, so that it never holds the scores of all classes for an image."""
    return model.labels_only() if hasattr(model, "labels_only") else nullcontext()
