"""Segment pictures with an exported model, by any names, without PyTorch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from fcclip.export.classes import Classes, NameRows
from fcclip.export.engine import Graph, open_graph
from fcclip.export.manifest import PatchSettings, PixelFormat, check_files, read_manifest
from fcclip.export.systems import PatchSystem, QuerySystem, Sizes
from fcclip.files.cores import usable_cores
from fcclip.files.images import ImageLike, is_single, to_rgb
from fcclip.files.resizing import resize_picture, resized_shape
from fcclip.inference.batching import map_in_batches, require_batch_size
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Category, Vocabulary, VocabularyLike

IMAGE_GRAPH, SCORE_GRAPH, TEXT_GRAPH = "image.onnx", "scores.onnx", "text.onnx"
VOCABULARY_FILE, MERGES_FILE = "vocabulary.npz", "merges.txt"


@dataclass(frozen=True)
class EncodedPicture:
    """A picture and all that a model knows of it before a class is named; `Runtime.predict` takes it as a picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        encoded: what the graph said of it.
        sizes: its heights and widths.
    """

    image: np.ndarray
    encoded: Any
    sizes: Sizes


class Runtime:
    """Segments pictures with an exported model, as the `Segmenter` does with PyTorch.

    Names that are not in the folder's `vocabulary.npz` are encoded by its text graph, which is opened for the first of
    them.

    Args:
        folder: what `fcclip export` wrote.
        engine: "onnxruntime".
        threads: of the engine, and of the results that are made of what it says; 0 for one per core.

    Raises:
        FileNotFoundError: the folder or one of its files is missing.
        ValueError: a file is not that of the manifest, or the engine or this program cannot read it.
        ModuleNotFoundError: the engine is not installed.

    Examples:
        After `fcclip export --model panoshapes --output exported`:

        >>> from pathlib import Path
        >>> if Path("exported").is_dir():
        ...     runtime = Runtime("exported")
        ...     runtime.set_vocabulary("red star; grass=stuff")
        ...     runtime.predict("photo.jpg").save("segmented.png")

        Without:

        >>> Runtime("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: there is no exported model in nowhere (manifest.json is missing); make one: fcclip export
    """

    def __init__(self, folder: str | Path, engine: str = "onnxruntime", threads: int = 0) -> None:
        self._folder = Path(folder).expanduser()
        self._engine, self._threads = engine, threads
        self.manifest = manifest = read_manifest(self._folder)
        table = self._read_vocabulary()
        names, rows = table["names"].tolist(), table["rows"]
        self._names = NameRows(
            dict(zip(names, rows, strict=True)),
            manifest,
            self._folder / MERGES_FILE,
            self._encode_text,
            table["trained_tokens"],
        )
        self._text_graph: Graph | None = None
        self._system: QuerySystem | PatchSystem
        if isinstance(manifest.settings, PatchSettings):
            self._system = PatchSystem(self._open(IMAGE_GRAPH), self._open(SCORE_GRAPH), manifest.settings)
        else:
            image = self._open(IMAGE_GRAPH)
            multiple = manifest.pixels.multiple
            self._system = QuerySystem(image, manifest.settings, table["void"], multiple, threads or usable_cores())
        self._classes = self._names.classes(_vocabulary_of(names, table["class_of_name"], table["is_thing"]))

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that are looked for; at first those that the model was exported with."""
        return self._classes.vocabulary

    def set_vocabulary(self, vocabulary: VocabularyLike) -> None:
        """Choose the classes to look for; as `Segmenter.set_vocabulary`."""
        self._classes = self.encode_vocabulary(vocabulary)

    def encode_vocabulary(self, vocabulary: VocabularyLike) -> Classes:
        """Encode classes for `predict`, and leave those that were set as they are."""
        return self._names.classes(Vocabulary.of(vocabulary))

    def embed_text(self, names: Sequence[str]) -> np.ndarray:
        """Names -> (n, E) float32 unit rows in CLIP's joint space."""
        return self._names.embed(names)

    def encode(self, image: ImageLike) -> EncodedPicture:
        """Let the network look at a picture once; then any number of vocabularies costs milliseconds each.

        Raises:
            As `predict`.
        """
        return self._encode_batch([to_rgb(image)])[0]

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is iterable
        self,
        images: ImageLike | EncodedPicture,
        batch_size: int = 1,
        vocabulary: VocabularyLike | Classes | None = None,
    ) -> Segmentation: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike | EncodedPicture],
        batch_size: int = 1,
        vocabulary: VocabularyLike | Classes | None = None,
    ) -> list[Segmentation]: ...

    def predict(
        self,
        images: ImageLike | EncodedPicture | Iterable[ImageLike | EncodedPicture],
        batch_size: int = 1,
        vocabulary: VocabularyLike | Classes | None = None,
    ) -> Segmentation | list[Segmentation]:
        """Segment one picture, or a list of them.

        Args:
            images: a file name, an (H, W, 3) uint8 RGB array, a PIL image or what `encode` gave; or a list of these.
            batch_size: the most pictures that go through the network together, of those that are padded to one size.
            vocabulary: classes for this call alone; those that were set by default.

        Returns:
            A result, or a list of results in the order of `images`.

        Raises:
            FileNotFoundError, UnreadableImageError, ValueError: a picture is missing, damaged, too small or of another
                shape.
        """
        require_batch_size(batch_size)
        classes = self._classes
        if vocabulary is not None:
            classes = vocabulary if isinstance(vocabulary, Classes) else self.encode_vocabulary(vocabulary)
        given: Any = images
        if is_single(given):
            return self._answer(self._encoded(given), classes)
        pictures = (image if isinstance(image, EncodedPicture) else to_rgb(image) for image in given)

        def run(batch: list[Any]) -> list[Segmentation]:
            encoded = batch if isinstance(batch[0], EncodedPicture) else self._encode_batch(batch)
            return [self._answer(picture, classes) for picture in encoded]

        return list(map_in_batches(run, pictures, self._kind, batch_size))

    def _encoded(self, image: Any) -> EncodedPicture:
        return image if isinstance(image, EncodedPicture) else self.encode(image)

    def _kind(self, item: Any) -> Hashable:
        """What the pictures of a batch have in common: their padded size."""
        if isinstance(item, EncodedPicture):
            return "encoded"
        pixels = self.manifest.pixels
        height, width = resized_shape(item.shape[0], item.shape[1], pixels.shorter_side, pixels.longer_side)
        return -(-height // pixels.multiple), -(-width // pixels.multiple)

    def _encode_batch(self, images: list[np.ndarray]) -> list[EncodedPicture]:
        inputs = [normalise(image, self.manifest.pixels) for image in images]
        sizes = [
            Sizes((pixels.shape[1], pixels.shape[2]), (image.shape[0], image.shape[1]))
            for pixels, image in zip(inputs, images, strict=True)
        ]
        return [
            EncodedPicture(image, encoded, size)
            for image, encoded, size in zip(images, self._system.encode(inputs), sizes, strict=True)
        ]

    def _answer(self, picture: EncodedPicture, classes: Classes) -> Segmentation:
        found = self._system.answer(picture.encoded, picture.sizes, classes)
        return Segmentation(picture.image, classes.vocabulary, random_weights=self.manifest.random_weights, **found)

    def _encode_text(self, tokens: np.ndarray) -> np.ndarray:
        if self._text_graph is None:
            check_files(self._folder, self.manifest.files, [MERGES_FILE])
            self._text_graph = self._open(TEXT_GRAPH)
        return self._text_graph({"tokens": tokens})["embeddings"]

    def _open(self, name: str) -> Graph:
        check_files(self._folder, self.manifest.files, [name])
        return open_graph(self._folder / name, self._engine, self._threads)

    def _read_vocabulary(self) -> dict[str, np.ndarray]:
        check_files(self._folder, self.manifest.files, [VOCABULARY_FILE])
        with np.load(self._folder / VOCABULARY_FILE, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def normalise(image: np.ndarray, pixels: PixelFormat) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (3, h, w) float32, resized and normalised.

    Raises:
        ValueError: it is smaller than the graph takes.
    """
    height, width = resized_shape(image.shape[0], image.shape[1], pixels.shorter_side, pixels.longer_side)
    if min(-(-side // pixels.multiple) * pixels.multiple for side in (height, width)) < pixels.least:
        raise ValueError(
            f"a picture of {image.shape[1]}x{image.shape[0]} pixels is too small: resized it has {width}x{height}, and "
            f"the graph takes at least {pixels.least} pixels per side; enlarge it, or export with a larger "
            "INPUT.MIN_SIZE_TEST"
        )
    channels = image[..., ::-1] if pixels.channels == "BGR" else image
    resized = resize_picture(np.ascontiguousarray(channels), height, width, pixels.resizing)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (pixels.mean, pixels.std))
    return (resized.transpose(2, 0, 1).astype(np.float32) - mean) / std


def _vocabulary_of(names: Sequence[str], class_of_name: np.ndarray, is_thing: np.ndarray) -> Vocabulary:
    groups = [
        tuple(name for name, owner in zip(names, class_of_name.tolist(), strict=True) if owner == index)
        for index in range(len(is_thing))
    ]
    return Vocabulary(tuple(map(Category, groups, is_thing.tolist())))
