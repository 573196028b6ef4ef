"""One HTML file that shows the worst images: picture, ground truth, prediction and errors side by side."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from detectron2.data.catalog import Metadata
from PIL import Image

from fcclip.evaluation.base import Comparison
from fcclip.evaluation.report.pictures import class_colors, class_names, paint, photo
from fcclip.evaluation.report.worst import BadImage

WRONG = (214, 40, 57)

_STYLE = """
:root { color-scheme: light dark; --ink: #22252b; --soft: #666c78; --line: #dfe2e7; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #9aa1ad; --line: #33373f; --paper: #16181c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 110rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { color: var(--soft); margin: .3rem 0; max-width: 70rem; }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; padding-top: 1rem; }
.pictures { display: grid; gap: .75rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .85rem; }
img { width: 100%; display: block; border-radius: 4px; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: 0; font-size: .85rem; }
li i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
li span { color: var(--soft); }
"""


def worst_images_page(images: Sequence[BadImage], metadata: Metadata, dataset: str, task: str) -> str:
    """Make the page; it needs no other file and no network.

    Args:
        images: worst first.
        metadata: the dataset's; `stuff_classes` names the classes and `stuff_colors`, if complete, colours them.
        dataset, task: their names, for the title.

    Returns:
        The HTML text.
    """
    names, colors = class_names(metadata), class_colors(metadata)
    sections = "".join(_section(rank, image, names, colors) for rank, image in enumerate(images, start=1))
    title = html.escape(f"Worst images of {dataset}: {task}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>The {len(images)} images of lowest score, worst first. Dark pixels have no class; in the last picture, "
        "red pixels have a wrong class. Percentages are shares of the image: ground truth / prediction.</p>"
        f"{sections}</body></html>\n"
    )


def _section(rank: int, image: BadImage, names: Sequence[str], colors: np.ndarray) -> str:
    comparison = image.comparison
    shown = photo(image.file_name, comparison.true.shape)
    pictures = (
        ("image", _jpeg(shown)),
        ("ground truth", _png(paint(comparison.true, comparison.true_segments, colors))),
        ("prediction", _png(paint(comparison.predicted, comparison.predicted_segments, colors))),
        ("errors", _jpeg(_errors(shown, comparison))),
    )
    figures = "".join(
        f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        for caption, source in pictures
    )
    heading = f"{rank}. score {100 * image.score:.1f} — {html.escape(image.file_name)}"
    legend = _legend(comparison, names, colors)
    return f'<section><h2>{heading}</h2><div class="pictures">{figures}</div><ul>{legend}</ul></section>'


def _legend(comparison: Comparison, names: Sequence[str], colors: np.ndarray) -> str:
    """The classes of the picture, largest first, with their shares in ground truth and prediction."""
    true, predicted = (
        np.bincount(labels[labels >= 0], minlength=len(names)) * (100 / labels.size)
        for labels in (comparison.true, comparison.predicted)
    )
    shown = [index for index in np.argsort(-(true + predicted), kind="stable") if true[index] + predicted[index] > 0]
    return "".join(
        f'<li><i style="background:rgb{tuple(colors[index].tolist())}"></i>{html.escape(names[index])} '
        f"<span>{true[index]:.0f}% / {predicted[index]:.0f}%</span></li>"
        for index in shown
    )


def _errors(photo: np.ndarray, comparison: Comparison) -> np.ndarray:
    """The image in pale grey, its wrong pixels in red and those without ground truth dark."""
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2)
    known = comparison.true >= 0
    wrong = known & (comparison.true != comparison.predicted)
    shown = 110 + 0.5 * grey
    shown[wrong] = 0.35 * grey[wrong] + 0.65 * np.array(WRONG)
    shown[~known] = 0.3 * grey[~known]
    return shown.clip(0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray) -> str:
    return _data_url(pixels, "jpeg", quality=82)


def _png(pixels: np.ndarray) -> str:
    return _data_url(pixels, "png", optimize=True)


def _data_url(pixels: np.ndarray, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
