"""The Python interface: build a model once, name the classes, segment pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from PIL import Image
from yaml import YAMLError

from fcclip.config import get_cfg
from fcclip.data.resizing import ResizeShorterSide
from fcclip.files.images import read_image
from fcclip.formats.result import Instances, Segment, describe_segments
from fcclip.inference.batching import map_in_batches
from fcclip.meta_arch.vocabularies import VocabularyPair
from fcclip.segmentation import Segmentation
from fcclip.speed.acceleration import FAST_OPTIONS, accelerate
from fcclip.vocabulary import Vocabulary
from fcclip.weights import WeightState, load_weights
from fcclip.zoo import find_pretrained

ImageLike = str | Path | np.ndarray | Image.Image


class OpenVocabularyModel(Protocol):
    """What a model offers to be used by a `Segmenter`; every meta architecture of this package does.

    Attributes:
        size_divisibility: a batch is padded to a multiple of this.
        semantic_labels_only: let "sem_seg" be an (h, w) map of classes instead of (C, h, w) scores.
        vocabularies: the classes with their text embeddings.
        weights: knows what was never loaded.
    """

    size_divisibility: int
    semantic_labels_only: bool
    vocabularies: VocabularyPair
    weights: WeightState

    @property
    def uses_random_weights(self) -> bool: ...

    @property
    def device(self) -> torch.device: ...

    def set_vocabulary(self, vocabulary: Vocabulary) -> None: ...

    def eval(self) -> Any: ...

    def __call__(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]: ...


class Segmenter:
    """Segments pictures by the names it is given.

        segmenter = Segmenter.from_config("configs/.../fcclip_convnext_large_eval_ade20k.yaml", weights="fcclip.pth")
        segmenter.set_vocabulary("cat,kitten; sofa; wall=stuff")
        segmenter.predict("photo.jpg").save("segmented.png")

    Of pictures of any sizes, `predict(pictures, batch_size=8)` and `stream` put those of one padded size together: the
    results are those of single pictures, in the order of the pictures.

    Args:
        model: maps Detectron2's inputs to its outputs.
        min_size: length in pixels to which the shorter side of a picture is resized.
        max_size: the most that the longer side may get.
        input_format: order of the colour channels that the model expects, "RGB" or "BGR".
        resizing: the library that resizes, "pillow" or "opencv".

    Raises:
        RuntimeError: the model's weights are random, and it was not built to run with such.
    """

    def __init__(
        self,
        model: OpenVocabularyModel,
        min_size: int = 800,
        max_size: int = 1333,
        input_format: str = "RGB",
        resizing: str = "pillow",
    ) -> None:
        model.weights.check(training=False)
        model.eval()
        model.semantic_labels_only = True
        self.model = model
        self.vocabulary: Vocabulary | None = None
        self._resize = ResizeShorterSide(min_size, max_size, resizing)
        self._reverse_channels = input_format == "BGR"

    @classmethod
    def from_config(
        cls,
        config_file: str | Path,
        opts: Sequence[str] = (),
        weights: str | Path | None = None,
        device: str | None = None,
        random_weights: bool = False,
        fast: bool = False,
    ) -> Segmenter:
        """Build the model of a YAML file and load its weights.

        Args:
            config_file: a file of this project or of the published release.
            opts: keys and values in turn that override the file's, such as ``("INPUT.MIN_SIZE_TEST", "640")``.
            weights: checkpoint to load instead of the file's MODEL.WEIGHTS.
            device: "cpu", "cuda", "cuda:1", "mps"; by default the GPU where there is one.
            random_weights: fetch and load nothing but what `opts` and `weights` name, and run with random weights in
                place of the rest; every result then says so.
            fast: compute in half precision where the device is faster in it, at a small loss (`fcclip.speed`).

        Raises:
            FileNotFoundError, ValueError: a file is missing or a key is unknown or wrong.
        """
        return cls.from_cfg(read_config(config_file, opts, weights, device, random_weights, fast))

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Segmenter:
        """Build the model of a configuration node and load its MODEL.WEIGHTS."""
        model = build_model(cfg)
        if cfg.MODEL.WEIGHTS:
            load_weights(model, cfg.MODEL.WEIGHTS)
        accelerate(model, cfg)
        node = cfg.INPUT
        return cls(model, node.MIN_SIZE_TEST, node.MAX_SIZE_TEST, node.FORMAT, node.RESIZING_TEST)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, opts: Sequence[str] = (), device: str | None = None, fast: bool = False
    ) -> Segmenter:
        """Load a trained model.

        Args:
            name_or_path: a checkpoint (.pth, .safetensors) with its configuration (.yaml) beside it, a folder that
                holds one of each, or the name of a published model (`fcclip.zoo.PUBLISHED`).
            opts, device, fast: as in `from_config`.

        Raises:
            FileNotFoundError: a file is missing; the message says which one and where to put it.
            ValueError: there is no model of that name.
        """
        found = find_pretrained(name_or_path)
        return cls.from_config(found.config, opts, found.weights, device, fast=fast)

    def set_vocabulary(self, vocabulary: Vocabulary | str | Path | Iterable[str]) -> None:
        """Choose the classes to look for; their names are encoded once, here.

        Args:
            vocabulary: text like ``"cat,kitten; sky=stuff"`` (";" between classes, "," between synonyms, things unless
                "=stuff"), a list of such classes, a `pathlib.Path` of a file with one a line, or a `Vocabulary`.

        Raises:
            ValueError: a name is empty, repeated or too long, or there is none.
            FileNotFoundError: there is no such file.
        """
        vocabulary = _to_vocabulary(vocabulary)
        self.model.set_vocabulary(vocabulary)
        self.model.vocabularies.classifier(training=False, device=self.model.device)  # made now, and kept
        self.vocabulary = vocabulary

    @overload
    def predict(self, images: ImageLike, batch_size: int = 1) -> Segmentation: ...  # type: ignore[overload-overlap]  # a str is iterable

    @overload
    def predict(self, images: Iterable[ImageLike], batch_size: int = 1) -> list[Segmentation]: ...

    def predict(
        self, images: ImageLike | Iterable[ImageLike], batch_size: int = 1
    ) -> Segmentation | list[Segmentation]:
        """Segment one picture, or a list of them.

        Args:
            images: a file name, an (H, W, 3) uint8 RGB array or a PIL image; or a list of these.
            batch_size: the most pictures that go through the network together. Only pictures that are padded to the
                same size do, so that none is padded more than alone and results do not depend on the company.

        Returns:
            A result, or a list of results in the order of `images`.

        Raises:
            RuntimeError: no vocabulary has been set.
            FileNotFoundError, UnreadableImageError, ValueError: a picture is missing, damaged or of another shape.
        """
        if isinstance(images, ImageLike):
            return next(self.stream([images]))
        return list(self.stream(images, batch_size))

    def stream(self, images: Iterable[ImageLike], batch_size: int = 1) -> Iterator[Segmentation]:
        """Segment pictures as they come, perhaps without end; arguments and errors as in `predict`.

        To fill batches of one size, it reads up to four batches ahead; with a `batch_size` of 1 it does not.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {batch_size}")
        return map_in_batches(self._predict_batch, map(_to_array, images), self.padded_size, batch_size)

    def padded_size(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width at which a picture (H, W, 3) goes through the network: resized, then padded."""
        height, width = self._resize.output_size(*image.shape[:2])
        multiple = max(self.model.size_divisibility, 1)
        return -(-height // multiple) * multiple, -(-width // multiple) * multiple

    def _predict_batch(self, images: list[np.ndarray]) -> list[Segmentation]:
        if self.vocabulary is None:
            raise RuntimeError('set the classes to look for first: segmenter.set_vocabulary("cat,kitten; sky=stuff")')
        with torch.no_grad():
            outputs = self.model([self._to_input(image) for image in images])
        return [self._to_segmentation(image, output) for image, output in zip(images, outputs, strict=True)]

    def _to_input(self, image: np.ndarray) -> dict[str, Any]:
        """A picture as Detectron2's models take it: a resized (3, H, W) float tensor, and the size of the result."""
        height, width = image.shape[:2]
        pixels = np.ascontiguousarray(image[..., ::-1] if self._reverse_channels else image)
        resized = self._resize.get_transform(pixels).apply_image(pixels)
        tensor = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1))).float()
        return {"image": tensor, "height": height, "width": width}

    def _to_segmentation(self, image: np.ndarray, output: dict[str, Any]) -> Segmentation:
        assert self.vocabulary is not None  # checked before the model ran
        panoptic: np.ndarray | None = None
        segments: tuple[Segment, ...] = ()
        instances: Instances | None = None
        semantic: np.ndarray | None = None
        if "panoptic_seg" in output:
            ids, records = output["panoptic_seg"]
            panoptic = ids.cpu().numpy()
            segments = describe_segments(panoptic, records, output["panoptic_scores"], self.vocabulary)
        if "instances" in output:
            found = output["instances"].to("cpu")
            instances = Instances(
                masks=found.pred_masks.numpy().astype(bool),
                boxes=found.pred_boxes.tensor.numpy().astype(np.float32),
                scores=found.scores.numpy().astype(np.float32),
                category_ids=found.pred_classes.numpy().astype(np.int64),
            )
        if "sem_seg" in output:
            semantic = output["sem_seg"].to("cpu", torch.int32).numpy()
        return Segmentation(
            image, self.vocabulary, panoptic, segments, instances, semantic, self.model.uses_random_weights
        )


def read_config(
    config_file: str | Path,
    opts: Sequence[str] = (),
    weights: str | Path | None = None,
    device: str | None = None,
    random_weights: bool = False,
    fast: bool = False,
) -> CfgNode:
    """The configuration of a model for inference; arguments and errors as in `Segmenter.from_config`."""
    path = Path(config_file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    if len(opts) % 2:
        raise ValueError(f"options come in pairs of key and value, but {opts[-1]!r} has no value")
    cfg = get_cfg()
    try:
        cfg.merge_from_file(str(path))
        cfg.MODEL.FC_CLIP.RELEASE_TEXT_TOWER = True  # unless the options say otherwise; files may be those of trainings
        if random_weights:
            cfg.MODEL.WEIGHTS = cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
            cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
        if fast:
            cfg.merge_from_list(list(FAST_OPTIONS))
        cfg.merge_from_list(list(opts))
    except (AssertionError, KeyError, ValueError, YAMLError) as error:  # an unknown key, or a value of another type
        raise ValueError(f"{path} or an option is not a valid configuration: {' '.join(str(error).split())}") from None
    if weights is not None:
        cfg.MODEL.WEIGHTS = str(weights)
    cfg.MODEL.DEVICE = _choose_device(device or cfg.MODEL.DEVICE, required=device is not None)
    cfg.freeze()
    return cfg


def _choose_device(device: str, required: bool) -> str:
    """The device, or the CPU where a merely configured GPU is not there."""
    if not device.startswith("cuda") or torch.cuda.is_available():
        return device
    if required:
        raise ValueError(f'this machine has no CUDA GPU that PyTorch can use, so the device cannot be "{device}"')
    return "cpu"


def _to_vocabulary(vocabulary: Vocabulary | str | Path | Iterable[str]) -> Vocabulary:
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    if isinstance(vocabulary, str):
        return Vocabulary.from_string(vocabulary)
    if isinstance(vocabulary, Path):
        return Vocabulary.from_file(vocabulary)
    return Vocabulary.from_class_strings(vocabulary)


def _to_array(image: ImageLike) -> np.ndarray:
    """Any picture -> (H, W, 3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image is an (H, W, 3) uint8 RGB array with pixels, not {image.dtype} {image.shape}")
    return image
