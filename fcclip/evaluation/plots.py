"""Plots of an evaluation: bars of all classes, what the worst classes are taken for, and a page of the worst images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data.catalog import Metadata
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fcclip.atomic import atomic_path, write_text
from fcclip.evaluation.base import ImageEvaluator
from fcclip.evaluation.page import worst_images_page
from fcclip.evaluation.report import TITLES, Report
from fcclip.evaluation.semantic import SemanticEvaluator
from fcclip.evaluation.worst import BadImage

BARS = 80  # more classes than this are shown by their best and worst halves
CONFUSED_CLASSES = 20
CONFUSIONS_PER_CLASS = 3
BAR_COLOR, FAINT, INK = "#3b6fb6", "#e3e5e8", "#30343b"
# The metric of a class that is drawn, by task.
CLASS_METRIC = {"panoptic_seg": "PQ", "sem_seg": "IoU", "segm": "AP", "bbox": "AP"}


def write_plots(
    folder: Path,
    report: Report,
    evaluators: Sequence[ImageEvaluator],
    worst: Sequence[BadImage],
    metadata: Metadata,
) -> None:
    """Write `per_class_TASK.png`, `confusion.png` (semantic evaluation) and `worst_images.html` into `folder`."""
    for task in report.averages:
        column = f"{task}.{CLASS_METRIC[task]}"
        scores = {name: row.get(column, math.nan) for name, row in report.per_class.items()}
        values = {name: score for name, score in scores.items() if not math.isnan(score)}
        if values:
            title = f"{TITLES[task]}: {CLASS_METRIC[task]} of {len(values)} classes, {report.dataset}"
            _save(class_bars(values, title), folder / f"per_class_{task}.png")
    for evaluator in evaluators:
        if isinstance(evaluator, SemanticEvaluator) and evaluator.confusion.any():
            _save(worst_confusions(evaluator.confusion, evaluator.class_names), folder / "confusion.png")
    if worst:
        write_text(folder / "worst_images.html", worst_images_page(worst, metadata, report.dataset))


def class_bars(values: dict[str, float], title: str) -> Figure:
    """Horizontal bars, best class on top; of more than `BARS` classes the best and the worst ones.

    Args:
        values: class name -> 0 to 100.
        title: written above.
    """
    ranked = sorted(values.items(), key=lambda item: -item[1])
    left_out = max(0, len(ranked) - BARS)
    if left_out:
        ranked = [*ranked[: BARS // 2], (f"… {left_out} classes in between …", math.nan), *ranked[-(BARS // 2) :]]
    figure = Figure(figsize=(9, 1.1 + 0.19 * len(ranked)), layout="constrained")
    axes = figure.add_subplot()
    heights = np.nan_to_num([value for _, value in ranked])
    positions = np.arange(len(ranked))
    axes.barh(positions, heights, color=BAR_COLOR, height=0.72)
    for position, (_, value) in enumerate(ranked):
        if not math.isnan(value):
            axes.text(value + 0.8, position, f"{value:.1f}", va="center", fontsize=7, color=INK)
    axes.set_yticks(positions, [name for name, _ in ranked], fontsize=7.5, color=INK)
    axes.set_ylim(len(ranked) - 0.4, -0.6)
    axes.set_xlim(0, 106)
    axes.set_xticks(range(0, 101, 20))
    mean = float(np.mean(list(values.values())))
    axes.axvline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel(f"dashed: mean of the classes shown and left out, {mean:.1f}", fontsize=8, color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    _clean(axes)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    return figure


def worst_confusions(confusion: np.ndarray, class_names: Sequence[str]) -> Figure:
    """What pixels of the classes with the lowest IoU are taken for.

    Args:
        confusion: (C + 1, C) pixels, [predicted, true], as in `SemanticEvaluator`.
        class_names: C names.

    Returns:
        A heat map: a row for each of the worst classes, a column for each class that they are mostly taken for; a
        cell is the share of the row's ground-truth pixels, in percent.
    """
    true_pixels = confusion.sum(axis=0)
    correct = np.diagonal(confusion)
    iou = correct / np.maximum(true_pixels + confusion[:-1].sum(axis=1) - correct, 1)
    present = np.flatnonzero(true_pixels)
    rows = present[np.argsort(iou[present], kind="stable")][:CONFUSED_CLASSES]
    share = 100 * confusion[:, rows].T / true_pixels[rows, None]  # (rows, predicted)
    favourites = np.argsort(-share, axis=1, kind="stable")[:, :CONFUSIONS_PER_CLASS]
    wanted = {int(column) for row, best in enumerate(favourites) for column in best if share[row, column] >= 1}
    columns = sorted(wanted | set(rows.tolist()), key=lambda column: -share[:, column].sum())
    names = [*class_names, "(none)"]
    figure = Figure(figsize=(2.6 + 0.3 * len(columns), 2.2 + 0.27 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share[:, columns], cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            value = share[y, column]
            if value >= 1:
                color = "white" if value > 55 else INK
                axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=color)
            if row == column:
                axes.add_patch(_frame(x, y))
    axes.set_xticks(range(len(columns)), [names[column] for column in columns], rotation=90, fontsize=7.5, color=INK)
    axes.set_yticks(range(len(rows)), [f"{names[row]}  {100 * iou[row]:.1f}" for row in rows], fontsize=7.5, color=INK)
    axes.set_xlabel("predicted as", fontsize=8, color=INK)
    axes.set_ylabel("true class and its IoU", fontsize=8, color=INK)
    axes.set_title("The classes of lowest IoU: % of their pixels by prediction (framed: right)", fontsize=9, loc="left")
    figure.colorbar(image, ax=axes, shrink=0.6, label="% of true pixels")
    _clean(axes)
    return figure


def _frame(x: int, y: int) -> Rectangle:
    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.0)


def _clean(axes: Axes) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, dpi=130)
