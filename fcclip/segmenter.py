"""The Python interface: build a model once, name the classes, segment pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from fcclip.config import load_inference_cfg
from fcclip.files.images import ImageLike, is_single, to_rgb
from fcclip.inference.batching import Failure, OnError, map_in_batches, require_batch_size, tell_failures
from fcclip.inference.tracking.saved import StreamState
from fcclip.meta_arch.base import OpenVocabularyModel
from fcclip.meta_arch.pictures import EncodedPicture, Item, PictureModel, to_item
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation
from fcclip.speed.acceleration import accelerate
from fcclip.video.stream import TrackedStream, TrackingOptions, can_track
from fcclip.video.whole import WholeVideo
from fcclip.vocabulary import Vocabulary, VocabularyLike
from fcclip.weights import load_weights
from fcclip.zoo import find_pretrained

LEAST_INSTANCE_SCORE = 0.05  # as Detectron2 has it: what scores less is noise


class PicturesFailedError(ValueError):
    """Some pictures of a list could not be segmented.

    Attributes:
        results: one per picture, None where it failed.
        errors: place in the list -> what went wrong.

    Examples:
        >>> error = PicturesFailedError([None, None], {0: ValueError("too small"), 1: ValueError("too dark")})
        >>> sorted(error.errors)
        [0, 1]
    """

    def __init__(self, results: list[Segmentation | None], errors: dict[int, Exception]) -> None:
        self.results, self.errors = results, errors
        first = min(errors)
        super().__init__(
            f"{len(errors)} of {len(results)} pictures failed, first number {first + 1}: {errors[first]}; this error's "
            "`results` has those of the others"
        )


class Segmenter:
    """Segments pictures by the names it is given.

    Of pictures of any sizes, `predict(pictures, batch_size=8)` and `stream` put those of one padded size together: the
    results are those of single pictures, in the order of the pictures.

    A picture can be encoded once and asked for many vocabularies. One segmenter serves several threads: every result
    belongs to one vocabulary, that of its call or else the one that was set when its batch began.

    Args:
        model: is put into eval mode.
        min_size: length in pixels to which the shorter side of a picture is resized.
        max_size: the most that the longer side may get.
        input_format: order of the colour channels that the model expects, "RGB" or "BGR".
        resizing: the library that resizes, "pillow" or "opencv".
        instance_threshold: instances that score less are dropped; also an attribute that may be set. With 0 all of
            TEST.DETECTIONS_PER_IMAGE stay.
        tracking: how videos are followed.

    Raises:
        RuntimeError: the model's weights are random, and it was not built to run with such.

    Examples:
        A rendered scene, and the small model that comes along:

        >>> import numpy as np
        >>> from fcclip.data.panoshapes import render_scene
        >>> picture = render_scene(np.random.default_rng(72), 192, 192).image
        >>> segmenter = Segmenter.from_pretrained("panoshapes", device="cpu")
        >>> segmenter.set_vocabulary("blue star; red circle; grass=stuff; snow=stuff")
        >>> sorted(segmenter.predict(picture).names())
        ['blue star', 'grass', 'snow']

        One look at the picture, several vocabularies:

        >>> encoded = segmenter.encode(picture)
        >>> [segmenter.predict(encoded, vocabulary=names).names() for names in ("blue star", "snow=stuff")]
        [['blue star'], ['snow']]

        Many pictures, as they come:

        >>> [result.size for result in segmenter.stream([picture, picture[:96]], batch_size=2)]
        [(192, 192), (96, 192)]

        Frames of a video, in which an object keeps its number:

        >>> [len(frame.segments) > 0 for frame in segmenter.track([picture, picture])]
        [True, True]

        Similarities of names, as CLIP has them:

        >>> segmenter.embed_text(["red star", "snow"]).shape
        (2, 128)
    """

    def __init__(
        self,
        model: OpenVocabularyModel,
        min_size: int = 800,
        max_size: int = 1333,
        input_format: str = "RGB",
        resizing: str = "pillow",
        instance_threshold: float = LEAST_INSTANCE_SCORE,
        tracking: TrackingOptions | None = None,
    ) -> None:
        model.weights.check(training=False)
        model.eval()
        self.model = model
        self.instance_threshold = instance_threshold
        self._classes: EncodedVocabulary | None = None
        self._pictures = PictureModel(model, min_size, max_size, input_format, resizing)
        self._tracking = tracking or TrackingOptions()

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
            config_file: a file of this project or of the published release; `configs/...` is found from any folder.
            opts: keys and values in turn that override the file's, such as `("INPUT.MIN_SIZE_TEST", "640")`.
            weights: checkpoint to load instead of the file's MODEL.WEIGHTS.
            device: "cpu", "cuda", "cuda:1", "mps"; by default the GPU where there is one.
            random_weights: fetch and load nothing but what `opts` and `weights` name, and run with random weights in
                place of the rest; every result then says so.
            fast: compute in half precision or 8 bits, as the device is faster, at a small loss (`fcclip.speed`).

        Raises:
            FileNotFoundError, ValueError: a file is missing or a key is unknown or wrong.
        """
        return cls.from_cfg(load_inference_cfg(config_file, opts, weights, device, random_weights, fast))

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Segmenter:
        """Build the model of a configuration node and load its MODEL.WEIGHTS."""
        model = build_model(cfg)
        if cfg.MODEL.WEIGHTS:
            load_weights(model, cfg.MODEL.WEIGHTS)
        accelerate(model, cfg)
        node = cfg.INPUT
        sizes = (node.MIN_SIZE_TEST, node.MAX_SIZE_TEST)
        return cls(model, *sizes, node.FORMAT, node.RESIZING_TEST, tracking=TrackingOptions.from_cfg(cfg))

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, opts: Sequence[str] = (), device: str | None = None, fast: bool = False
    ) -> Segmenter:
        """Load a trained model.

        Args:
            name_or_path: a checkpoint (.pth, .safetensors) with its configuration (.yaml) beside it, a folder that
                holds one of each, or the name of a published model (MODEL_ZOO.md).
            opts, device, fast: as in `from_config`.

        Raises:
            FileNotFoundError: a file is missing; the message says which one and where to put it.
            ValueError: there is no model of that name.
        """
        found = find_pretrained(name_or_path)
        return cls.from_config(found.config, opts, found.weights, device, fast=fast)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The classes that are looked for, None before any were set."""
        return None if self._classes is None else self._classes.vocabulary

    def set_vocabulary(self, vocabulary: VocabularyLike) -> None:
        """Choose the classes to look for; their names are encoded here, once.

        Args:
            vocabulary: text like `"cat,kitten; sky=stuff"` (";" between classes, "," between synonyms, things unless
                "=stuff"), a list of such classes, a `pathlib.Path` of a file with one per line, or a `Vocabulary`.

        Raises:
            ValueError: a name is empty, repeated or too long, or there is none; the classes then stay as they were.
            FileNotFoundError: there is no such file.
        """
        classes = self.encode_vocabulary(vocabulary)
        self.model.vocabularies.ask_for(classes)  # for those who call the model itself
        self._classes = classes

    def encode_vocabulary(self, vocabulary: VocabularyLike) -> EncodedVocabulary:
        """Encode classes for `predict` and `stream`, and leave those that were set as they are; as `set_vocabulary`."""
        return self.model.vocabularies.encode(Vocabulary.of(vocabulary)).to(self.model.device)

    def embed_text(self, names: Sequence[str]) -> np.ndarray:
        """Embed names as classes are embedded: the mean over the prompt templates.

        Returns:
            (n, E) float32 unit rows in CLIP's joint space.

        Raises:
            ValueError: a name is too long for CLIP.
        """
        return self.model.vocabularies.embed(names).numpy()

    def encode(self, image: ImageLike) -> EncodedPicture:
        """Let the network look at a picture once; then any number of vocabularies costs milliseconds each.

        Raises:
            As `predict`.
        """
        return self._pictures.encode([to_rgb(image)])[0]

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is iterable
        self,
        images: ImageLike | EncodedPicture,
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
    ) -> Segmentation: ...

    @overload
    def predict(
        self,
        images: Iterable[ImageLike | EncodedPicture],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
    ) -> list[Segmentation]: ...

    def predict(
        self,
        images: ImageLike | EncodedPicture | Iterable[ImageLike | EncodedPicture],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
    ) -> Segmentation | list[Segmentation]:
        """Segment one picture, or a list of them.

        Args:
            images: a file name, an (H, W, 3) uint8 RGB array, a PIL image or what `encode` gave; or a list of these.
            batch_size: the most pictures that go through the network together. Only pictures that are padded to the
                same size do, so that none is padded more than it would be alone.
            vocabulary: classes for this call alone; those that were set by default.

        Returns:
            A result, or a list of results in the order of `images`.

        Raises:
            RuntimeError: no vocabulary has been set.
            FileNotFoundError, UnreadableImageError, ValueError: the picture is missing, damaged or of another shape.
            PicturesFailedError: pictures of a list of several are; it has the results of the others.
        """
        given: Any = images
        if is_single(given):
            return next(self.stream([given], vocabulary=vocabulary))
        errors: dict[int, Exception] = {}
        results: list[Any] = list(self.stream(given, batch_size, vocabulary, on_error=errors.__setitem__))
        if errors:
            raise errors[0] if len(results) == 1 else PicturesFailedError(results, errors)
        return results

    @overload
    def stream(
        self,
        images: Iterable[ImageLike | EncodedPicture],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
        *,
        on_error: None = None,
    ) -> Iterator[Segmentation]: ...

    @overload
    def stream(
        self,
        images: Iterable[ImageLike | EncodedPicture | Failure],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
        *,
        on_error: OnError,
    ) -> Iterator[Segmentation | None]: ...

    def stream(
        self,
        images: Iterable[ImageLike | EncodedPicture | Failure],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
        *,
        on_error: OnError | None = None,
    ) -> Iterator[Any]:
        """Segment pictures as they come, perhaps without end; arguments and errors as in `predict`.

        To fill batches of one size, it reads up to four batches ahead; with a `batch_size` of 1 it does not.

        Args:
            images: a `Failure` among them stands for one that could not be read.
            on_error: is told the place of a picture that fails, from 0, and why; None then stands for its result, and
                the others go on. Without it, the first failure is raised after the results before it.
        """
        require_batch_size(batch_size)
        classes = self._for_one_call(vocabulary)
        self._wanted(classes)

        def run(items: list[Item]) -> Sequence[Segmentation | Failure]:
            return self._pictures.answer_batch(items, self._wanted(classes), self.instance_threshold)

        return tell_failures(map_in_batches(run, map(to_item, images), self._pictures.kind, batch_size), on_error)

    def track(
        self,
        frames: Iterable[ImageLike],
        look_ahead: int = 5,
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
        state: StreamState | None = None,
    ) -> TrackedStream:
        """Segment the frames of a video, and say which segments are the same object.

        Names are those of the whole shot up to `look_ahead` frames after each frame, which flicker less and are better
        than those of single frames. An id is never used twice. A cut, another size of frames or `reset()` of what is
        returned begins a new shot; objects that were seen before keep their ids. Stuff has one id per class. Memory
        does not depend on the length of the video.

        Args:
            frames: in order, as in `predict`; may be endless.
            look_ahead: frames by which results come later than their frames; 0 for a camera.
            batch_size: the most frames that go through the network together.
            vocabulary: classes for this video; those that are set by default.
            state: go on after a frame, at which an earlier stream's `state()` was this; `frames` are those after it.

        Returns:
            An iterator over one `Segmentation` per frame, whose segments have a `track`. Their `scores` are those that
            the frames voted for; what each classifier says, and the `embedding`, are of the frame alone.

        Raises:
            RuntimeError: no vocabulary has been set.
            ValueError: the model gives no panoptic results, or a number is out of range.
            FileNotFoundError, UnreadableImageError: a frame is missing or damaged; raised after the results before it.
        """
        require_batch_size(batch_size)
        classes = self._wanted(self._for_one_call(vocabulary))
        pictures = map_in_batches(self._pictures.encode, map(to_rgb, frames), self._pictures.kind, batch_size)
        options = replace(self._tracking, instance_threshold=self.instance_threshold)
        return TrackedStream(self.model, classes, pictures, look_ahead, options, state)

    def track_whole(
        self,
        frames: Iterable[ImageLike],
        batch_size: int = 1,
        vocabulary: VocabularyLike | EncodedVocabulary | None = None,
    ) -> WholeVideo:
        """As `track`, with the names of the whole video in every frame, by the rule of MinVIS_OV: better, but later.

        The frames are read three times, and go through the network twice; the first result comes after that. Memory
        does not depend on their number: what is known of each is kept in a temporary file. The rule knows no cuts.

        Args:
            frames: of one size; a list, or anything else whose iteration begins anew each time.
            batch_size, vocabulary: as in `track`.

        Returns:
            An iterator over one `Segmentation` per frame, with panoptic results only.

        Raises:
            As `track`; and ValueError: the frames are of several sizes, or can be read only once.
        """
        require_batch_size(batch_size)
        classes = self._wanted(self._for_one_call(vocabulary))

        def encode(images: Iterator[np.ndarray]) -> Iterator[EncodedPicture]:
            return map_in_batches(self._pictures.encode, images, self._pictures.kind, batch_size)

        return WholeVideo(self.model, classes, frames, encode)

    @property
    def can_track(self) -> bool:
        """Whether `track` works with this model: an FC-CLIP with panoptic results."""
        return can_track(self.model)

    def padded_size(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width at which a picture (H, W, 3) goes through the network: resized, then padded."""
        return self._pictures.padded_size(image)

    def _for_one_call(self, vocabulary: VocabularyLike | EncodedVocabulary | None) -> EncodedVocabulary | None:
        if vocabulary is None or isinstance(vocabulary, EncodedVocabulary):
            return vocabulary
        return self.encode_vocabulary(vocabulary)

    def _wanted(self, classes: EncodedVocabulary | None) -> EncodedVocabulary:
        """The classes of a call, or those set at this moment."""
        classes = classes or self._classes
        if classes is None:
            raise RuntimeError('set the classes to look for first: segmenter.set_vocabulary("cat,kitten; sky=stuff")')
        return classes
