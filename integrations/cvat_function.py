#!/usr/bin/env python3
"""Annotate the pictures of a CVAT task with the labels of that task: masks or polygons, stuff included.

    CVAT_ACCESS_TOKEN=... python integrations/cvat_function.py 12 --server-host https://app.cvat.ai \\
        --model fcclip_convnext_large --vocabulary "sky,clouds=stuff; cat,kitten" --threshold 0.5

The names come from the task; `--vocabulary` adds synonyms to some of them and tells what is stuff. It is also an
auto-annotation function for CVAT's own command, which then needs all names:

    cvat-cli --server-host URL task auto-annotate 12 --function-file integrations/cvat_function.py \\
        -p model=str:fcclip_convnext_large -p "vocabulary=str:cat,kitten; sky=stuff"

Needs the package cvat-sdk (for the second way cvat-cli).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import exceptions, make_client, models
from cvat_sdk.core.helpers import DeferredTqdmProgressReporter
from cvat_sdk.datasets import UnsupportedDatasetError
from cvat_sdk.masks import encode_mask
from PIL import Image
from urllib3.exceptions import HTTPError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run from a checkout that is not installed

from fcclip.drawing.style import View
from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.flags import non_negative_number, probability, whole_number
from fcclip.formats.masks import NamedMask, named_masks
from fcclip.formats.polygons import mask_polygons, polygon_ring
from fcclip.formats.writer import DEFAULT_TOLERANCE
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary

DEFAULT_THRESHOLD = 0.5
KINDS = ("mask", "polygon", "any")  # of labels that a segment can have


class CvatFunction:
    """A detection function of CVAT.

    Args:
        segmenter: a model.
        vocabulary: the classes; the first name of each is the label's.
        kinds: "mask", "polygon" or "any" by the name of a label; masks for those that are not in it.
        threshold: what scores less is left out, if CVAT does not say otherwise.
        view: "panoptic" (nothing overlaps, with stuff), "instances" or "semantic".
        tolerance: pixels by which polygons may deviate from their masks.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        vocabulary: Vocabulary,
        kinds: dict[str, str] | None = None,
        threshold: float = DEFAULT_THRESHOLD,
        view: View = "panoptic",
        tolerance: float = DEFAULT_TOLERANCE,
    ) -> None:
        segmenter.set_vocabulary(vocabulary)
        self._segmenter = segmenter
        self._kinds = {category.name: (kinds or {}).get(category.name, "mask") for category in vocabulary.categories}
        self._threshold = threshold
        self._view = view
        self._tolerance = tolerance
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[cvataa.label_spec(name, index, type=kind) for index, (name, kind) in enumerate(self._kinds.items())]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: Image.Image
    ) -> Sequence[models.LabeledShapeRequest]:
        """The shapes in a picture, with their scores."""
        threshold = self._threshold if context.conf_threshold is None else context.conf_threshold
        result = self._segmenter.predict(image).above(threshold)
        shapes: list[models.LabeledShapeRequest] = []
        for mask in named_masks(result, self._view):
            if context.conv_mask_to_poly or self._kinds[mask.name] == "polygon":
                shapes += self._polygons(mask)
            else:
                points = encode_mask(mask.full(result.size), list(mask.box))
                shapes.append(cvataa.mask(mask.category_id, points, **_score(mask)))
        return shapes

    def _polygons(self, mask: NamedMask) -> list[models.LabeledShapeRequest]:
        """One polygon per part; CVAT's have no holes, so these are joined to the outline by seams without area."""
        return [
            cvataa.polygon(mask.category_id, polygon_ring(polygon).astype(float).ravel().tolist(), **_score(mask))
            for polygon in mask_polygons(mask.crop, self._tolerance, mask.box[:2])
        ]


def _score(mask: NamedMask) -> dict[str, float]:
    return {} if mask.score is None else {"score": mask.score}


def create(
    vocabulary: str,
    model: str = "fcclip_convnext_large",
    threshold: float = DEFAULT_THRESHOLD,
    view: View = "panoptic",
    tolerance: float = DEFAULT_TOLERANCE,
    device: str | None = None,
) -> CvatFunction:
    """What cvat-cli calls; the arguments are its `-p NAME=TYPE:VALUE`."""
    segmenter = Segmenter.from_pretrained(model, device=device)
    classes = Vocabulary.from_string(vocabulary)
    return CvatFunction(segmenter, classes, threshold=threshold, view=view, tolerance=tolerance)


def task_vocabulary(
    labels: Sequence[models.Label], extra: str = "", polygons: bool = False
) -> tuple[Vocabulary, dict[str, str]]:
    """The classes of a task, and the kind of each label.

    Args:
        labels: the task's; those for tags, boxes, points and skeletons are left out.
        extra: classes like "cat,kitten; sky=stuff" whose first names are labels, for synonyms and stuff.
        polygons: labels that may have both are for polygons.

    Raises:
        ValueError: no label can have a mask or polygon, or `extra` names one that the task has not.
    """
    kinds = {label.name: str(label.type) for label in labels if str(label.type) in KINDS}
    if not kinds:
        raise ValueError("the task has no label for masks or polygons; add some, of the type mask, polygon or any")
    if polygons:
        kinds = {name: "polygon" if kind == "any" else kind for name, kind in kinds.items()}
    described = {category.name: category for category in Vocabulary.from_string(extra).categories} if extra else {}
    unknown = described.keys() - kinds.keys()
    if unknown:
        raise ValueError(f'--vocabulary names "{min(unknown)}", which is not a label of the task for masks or polygons')
    return Vocabulary(tuple(described.get(name) or Category((name,)) for name in kinds)), kinds


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    token = os.environ.get("CVAT_ACCESS_TOKEN")
    if not token:
        parser.error("set the environment variable CVAT_ACCESS_TOKEN to an access token of your CVAT account")
    return run_command(parser.prog, lambda: annotate(options, token), options.debug)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=whole_number(0), help="number of the task")
    parser.add_argument("--server-host", default="https://app.cvat.ai", metavar="URL", help="the CVAT server")
    parser.add_argument("--model", default="fcclip_convnext_large", help="a model's name, or a checkpoint")
    parser.add_argument(
        "--vocabulary", default="", metavar="NAMES", help='for synonyms and stuff: "cat,kitten; sky=stuff"'
    )
    parser.add_argument("--threshold", type=probability, default=DEFAULT_THRESHOLD, help="drop what scores less (0..1)")
    parser.add_argument("--view", choices=("panoptic", "instances", "semantic"), default="panoptic")
    parser.add_argument(
        "--tolerance", type=non_negative_number, default=DEFAULT_TOLERANCE, help="of polygons, in pixels"
    )
    parser.add_argument("--polygons", action="store_true", help="polygons also for labels that could have masks")
    parser.add_argument("--replace", action="store_true", help="remove the annotations that the task has")
    parser.add_argument("--device", help='"cpu", "cuda"')
    add_debug_flag(parser)
    return parser


def annotate(options: argparse.Namespace, token: str) -> None:
    """Annotate the task with what was found in its pictures, and say so.

    Raises:
        ValueError, OSError: the server, the task or the model cannot be used; the message says why.
    """
    with explained(options), make_client(options.server_host, access_token=token) as client:
        labels = client.tasks.retrieve(options.task).get_labels()
        vocabulary, kinds = task_vocabulary(labels, options.vocabulary, options.polygons)
        segmenter = Segmenter.from_pretrained(options.model, device=options.device)
        cvataa.annotate_task(
            client,
            options.task,
            CvatFunction(segmenter, vocabulary, kinds, options.threshold, options.view, options.tolerance),
            pbar=DeferredTqdmProgressReporter(),
            clear_existing=options.replace,
            conf_threshold=options.threshold,
        )
    print(f"task {options.task} is annotated with {vocabulary.describe()}")


@contextmanager
def explained(options: argparse.Namespace) -> Iterator[None]:
    """Within, what CVAT's package raises becomes a sentence."""
    host = options.server_host
    try:
        yield
    except HTTPError as error:
        raise ConnectionError(f"{host} cannot be reached; check --server-host and the network ({error})") from error
    except exceptions.ApiException as error:
        what = {401: "check CVAT_ACCESS_TOKEN", 403: "check the rights of CVAT_ACCESS_TOKEN"}
        what[404] = f"check that task {options.task} is there, and yours"
        remedy = what.get(error.status, "check the server's log")
        raise ValueError(f"{host} answers {error.status} {error.reason}; {remedy}") from error
    except UnsupportedDatasetError as error:
        raise ValueError(f"only tasks of pictures can be annotated, not videos ({error})") from error


if __name__ == "__main__":
    sys.exit(main())
