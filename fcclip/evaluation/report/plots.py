"""Plots of an evaluation: bars of all classes, what the worst classes are taken for, and pages of the worst images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.data.catalog import Metadata
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fcclip.evaluation.metrics.semantic import class_scores
from fcclip.evaluation.report.page import worst_images_page
from fcclip.evaluation.report.tables import TITLES, Report
from fcclip.evaluation.report.worst import BadImage
from fcclip.files.atomic import atomic_path, write_text

BARS = 80  # more classes than this are shown by their best and worst halves
CONFUSED_CLASSES = 20
BAR_COLOR, FAINT, INK = "#3b6fb6", "#e3e5e8", "#30343b"
CONFUSION_COLORS = (("#c8553d", "#e08e6d", "#f0c3a8"), ("white", INK, INK))  # of the bars and of the text on them
PERCENT_PER_LETTER = 0.75  # width of a letter on the bars of confusions
# The metric of a class that is drawn, by task.
CLASS_METRIC = {
    "panoptic_seg": "PQ", "sem_seg": "IoU", "segm": "AP", "bbox": "AP",
    "video_panoptic": "VPQ", "video_semantic": "IoU", "video_instance": "AP",
}  # fmt: skip


def write_plots(
    folder: Path,
    report: Report,
    worst: Mapping[str, Sequence[BadImage]],
    metadata: Metadata,
) -> None:
    """Write plots into `folder`: `per_class_TASK.png`, `confusion.png` (semantic evaluation) and `worst_images.html`.

    The page of worst images is that of the first evaluator that has any; those of the others have its name in theirs,
    such as `worst_images_instances.html`.
    """
    for task in report.averages:
        column = f"{task}.{CLASS_METRIC[task]}"
        scores = {name: row.get(column, math.nan) for name, row in report.per_class.items()}
        values = {name: score for name, score in scores.items() if not math.isnan(score)}
        if values:
            title = f"{TITLES[task]}: {CLASS_METRIC[task]} of {len(values)} classes, {report.dataset}"
            _save(class_bars(values, title), folder / f"per_class_{task}.png")
    if report.confusion is not None and report.confusion[0].any():
        _save(worst_confusions(*report.confusion), folder / "confusion.png")
    for rank, (name, images) in enumerate(worst.items()):
        page = folder / ("worst_images.html" if rank == 0 else f"worst_images_{name}.html")
        write_text(page, worst_images_page(images, metadata, report.dataset, name))


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
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK)
    mean = float(np.mean(list(values.values())))
    axes.axvline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlabel(f"dashed: mean of all {len(values)} classes, {mean:.1f}", fontsize=8, color=INK)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    _clean(axes)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    return figure


def worst_confusions(confusion: np.ndarray, class_names: Sequence[str]) -> Figure:
    """What the pixels of the classes with the lowest IoU are taken for: a bar of 100 % for each.

    Args:
        confusion: (C + 1, C) pixels, [predicted, true], as in `Report`.
        class_names: C names.

    Returns:
        Bars of the pixels that are right, of the three most frequent confusions (named where there is room) and of all
        others.
    """
    true_pixels = confusion.sum(axis=0)
    iou, _ = class_scores(confusion)
    present = np.flatnonzero(true_pixels)
    rows = present[np.argsort(iou[present], kind="stable")][:CONFUSED_CLASSES]
    names = [*class_names, "(none)"]
    figure = Figure(figsize=(11, 1.5 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for y, row in enumerate(rows.tolist()):
        share = 100 * confusion[:, row] / true_pixels[row]
        left = _bar_part(axes, y, 0.0, share[row], BAR_COLOR, f"{share[row]:.0f}", "white")
        share[row] = 0
        for color, ink, wrong in zip(*CONFUSION_COLORS, np.argsort(-share, kind="stable"), strict=False):
            left = _bar_part(axes, y, left, share[wrong], color, f"{names[wrong]} {share[wrong]:.0f}", ink)
    axes.set_yticks(range(len(rows)), [f"{names[row]}  {iou[row]:.1f}" for row in rows], fontsize=8, color=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("% of the pixels that truly belong to the class", fontsize=8, color=INK)
    axes.set_title(f"The {len(rows)} classes of lowest IoU (beside their names)", fontsize=10, color=INK, loc="left")
    kinds = zip(
        ("right", "1st confusion", "2nd", "3rd", "others"), (BAR_COLOR, *CONFUSION_COLORS[0], FAINT), strict=True
    )
    figure.legend(
        handles=[Patch(color=color, label=kind) for kind, color in kinds],
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        frameon=False,
    )
    axes.set_facecolor(FAINT)
    _clean(axes)
    return figure


def _bar_part(axes: Axes, y: int, left: float, width: float, color: str, text: str, ink: str) -> float:
    """Draw a part of a bar, with its text if that fits; returns where the next part starts."""
    axes.barh(y, width, left=left, color=color, height=0.78, edgecolor="white", linewidth=0.6)
    if width >= PERCENT_PER_LETTER * len(text):
        axes.text(left + width / 2, y, text, ha="center", va="center", fontsize=7, color=ink)
    return left + width


def _clean(axes: Axes) -> None:
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, dpi=130)
