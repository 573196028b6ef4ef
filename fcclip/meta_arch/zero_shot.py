"""What the zero-shot models share: training on seen classes, sliding over test images, answering for any names."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.events import get_event_storage
from torch import Tensor

from fcclip.clip.base import ClipBackbone
from fcclip.config import chunk_bytes_of
from fcclip.inference.bands import Size
from fcclip.inference.sliding import Windows, resize_scores, resized_labels
from fcclip.meta_arch.base import OpenVocabularyModel, require_numbers, training_metadata
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.meta_arch.zero_shot_vocabularies import ZERO_SHOT_TEMPLATES, ZeroShotVocabularies, read_embeddings
from fcclip.modeling.zero_shot.labels import IGNORE, pseudo_labels, seen_labels
from fcclip.modeling.zero_shot.loss import build_loss, pixel_accuracy
from fcclip.text import TextClassifier


@dataclass(frozen=True)
class EncodedWindows:
    """An image, decoded window by window.

    Attributes:
        windows: where they lie.
        decoded: what `ZeroShotModel.decode` said of each batch of them.
        output: height and width of the results.
    """

    windows: Windows
    decoded: list[Any]
    output: Size


class ZeroShotModel(OpenVocabularyModel):
    """Semantic segmentation of seen and unseen classes by matching names with the patches of a CLIP.

    A subclass implements `decode`, which looks at images, and `classify`, which compares names with what was seen.

    Args:
        vocabularies: classes of training and test.
        setting: inductive (unseen pixels are ignored), transductive (they get pseudo labels) or fully_supervised.
        loss: nel or softmax.
        mask_weight, dice_weight: of the losses.
        seen_penalty: subtracted from the score of seen classes, which the model prefers unduly.
        crop_size, stride: of the window that slides over a test image, in pixels; training images are padded to a crop.
        chunk_bytes: of class scores at the size of the result that are held at a time, besides the result.
        shared: arguments of `OpenVocabularyModel`.
    """

    vocabularies: ZeroShotVocabularies
    has_unused_parameters = True  # the decoders' self-attention, and what follows the last layer's scores

    def __init__(
        self,
        *,
        vocabularies: ZeroShotVocabularies,
        setting: str,
        loss: str,
        mask_weight: float,
        dice_weight: float,
        seen_penalty: float,
        crop_size: int,
        stride: int,
        chunk_bytes: int,
        **shared: Any,
    ) -> None:
        super().__init__(vocabularies=vocabularies, **shared)
        self.setting = setting
        self.mutually_exclusive = loss == "softmax"
        self.criterion = build_loss(loss, vocabularies.num_training_classes, mask_weight, dice_weight)
        self.seen_penalty = seen_penalty
        self.crop_size, self.stride = crop_size, stride
        self.chunk_bytes = chunk_bytes

    @staticmethod
    def shared_arguments(cfg: CfgNode, backbone: ClipBackbone) -> dict[str, Any]:
        """The constructor's arguments from a configuration."""
        node = cfg.MODEL.ZERO_SHOT
        return {
            "backbone": backbone,
            "vocabularies": _vocabularies(cfg, backbone),
            "setting": node.SETTING,
            "loss": node.LOSS,
            "mask_weight": node.MASK_WEIGHT,
            "dice_weight": node.DICE_WEIGHT,
            "seen_penalty": node.SEEN_PENALTY,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "crop_size": node.CROP_SIZE,
            "stride": node.STRIDE,
            "chunk_bytes": chunk_bytes_of(cfg),
            "allow_random_weights": cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS,
        }

    @abstractmethod
    def decode(self, images: Tensor) -> Any:
        """What the network says of normalised images (B, 3, H, W) before it knows a class; `classify` takes it."""

    @abstractmethod
    def classify(self, decoded: Any, text_embeddings: Tensor) -> Tensor:
        """What was decoded and unit text rows (K, E) -> one logit per row and patch, (B, K, h, w)."""

    def mask_logits(self, images: Tensor, text_embeddings: Tensor) -> Tensor:
        """How likely each pixel is to be what each text says.

        Args:
            images: (B, 3, H, W), normalised with `pixel_mean` and `pixel_std`.
            text_embeddings: (K, E) unit rows.

        Returns:
            (B, K, H, W), before the sigmoid.
        """
        return _upsample(self.classify(self.decode(images), text_embeddings), _size(images))

    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The weighted losses; the ground truth is `sem_seg` (H, W) int64, class ids, 255 where ignored."""
        images = [self.normalize(x["image"]) for x in batched_inputs]
        return self.losses_of_crops(*self._training_batch(images, batched_inputs))

    def losses_of_crops(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses of normalised images (B, 3, H, W) and their label maps (B, H, W)."""
        logits = self.class_logits(self.decode(images), self._train_text(), _size(images))
        labels = self.training_labels(labels, logits)
        log_scalar("pixel_accuracy", pixel_accuracy(logits, labels))
        return self.criterion(logits, labels)

    def training_labels(self, labels: Tensor, logits: Tensor) -> Tensor:
        """What the loss compares logits (B, K, H, W) with, made of ground truth (B, H, W) as the setting says."""
        unseen = self.vocabularies.unseen
        if self.setting == "inductive":
            return seen_labels(labels, unseen, self.vocabularies.num_classes)
        return pseudo_labels(labels, logits, unseen) if unseen else labels

    def encode(
        self, batched_inputs: list[dict[str, Any]], only: EncodedVocabulary | None = None
    ) -> list[EncodedWindows]:
        """Decode the windows of each image."""
        return [self._encode_image(self.normalize(x["image"]), x) for x in batched_inputs]

    def answer(self, encoded: EncodedWindows, classes: EncodedVocabulary, labels_only: bool = False) -> dict[str, Any]:
        """See `OpenVocabularyModel.answer`; there is `sem_seg` alone."""
        classes = classes.to(self.device)
        size = encoded.windows.window_size
        scores = encoded.windows.average(self.class_scores(decoded, classes, size) for decoded in encoded.decoded)
        require_numbers("class scores", scores)
        resize = resized_labels if labels_only else resize_scores
        return {"sem_seg": resize(scores, encoded.output, self.chunk_bytes)}

    def class_logits(self, decoded: Any, text: TextClassifier, size: Size) -> Tensor:
        """Mask logits (B, C, *size) of classes; of a class's synonyms the best one counts, patch by patch."""
        logits = self.classify(decoded, text.embeddings)
        if text.rows_of_class.shape[1] > 1:
            logits = logits[:, text.rows_of_class].amax(dim=2)
        return _upsample(logits, size)

    def class_scores(self, decoded: Any, classes: EncodedVocabulary, size: Size) -> Tensor:
        """Scores (B, C, *size) of classes in what was decoded of images of about the size of a crop."""
        logits = self.class_logits(decoded, classes.text, size).float()
        probability = logits.softmax(dim=1) if self.mutually_exclusive else logits.sigmoid()
        penalty = self.seen_penalty * classes.seen
        return probability - penalty[:, None, None]

    def _encode_image(self, image: Tensor, example: dict[str, Any]) -> EncodedWindows:
        windows = Windows.of(image, self.crop_size, self.stride)
        decoded = [self.decode(crops) for crops in windows.crops(image)]
        return EncodedWindows(
            windows, decoded, (example.get("height", image.shape[-2]), example.get("width", image.shape[-1]))
        )

    def _train_text(self) -> TextClassifier:
        return self.vocabularies.train(self.device).text

    def _training_batch(self, images: list[Tensor], batched_inputs: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
        """Images and label maps, padded right and below to the crop: images with 0, labels with 255."""
        height, width = (max(self.crop_size, *(image.shape[axis] for image in images)) for axis in (-2, -1))
        batch = images[0].new_zeros(len(images), 3, height, width)
        labels = torch.full((len(images), height, width), IGNORE, device=self.device)
        for index, (image, x) in enumerate(zip(images, batched_inputs, strict=True)):
            if "sem_seg" not in x:
                raise ValueError(
                    f'training image {x.get("file_name", "")} has no "sem_seg"; set INPUT.DATASET_MAPPER_NAME zero_shot'
                )
            rows, columns = image.shape[-2:]
            batch[index, :, :rows, :columns] = image
            labels[index, :rows, :columns] = x["sem_seg"].to(self.device)
        return batch, labels


def _upsample(logits: Tensor, size: Size) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _size(images: Tensor) -> Size:
    return images.shape[-2], images.shape[-1]


def log_scalar(name: str, value: Tensor) -> None:
    """Put a number into the log of the training, if one is running."""
    try:
        storage = get_event_storage()
    except AssertionError:  # how Detectron2 says that there is none
        return
    storage.put_scalar(name, value.item())


def _vocabularies(cfg: CfgNode, backbone: ClipBackbone) -> ZeroShotVocabularies:
    node = cfg.MODEL.ZERO_SHOT
    if node.TEMPLATES not in ZERO_SHOT_TEMPLATES:
        known = ", ".join(ZERO_SHOT_TEMPLATES)
        raise ValueError(f"MODEL.ZERO_SHOT.TEMPLATES must be one of {known}, not {node.TEMPLATES!r}")
    train = training_metadata(cfg.DATASETS.TRAIN)
    test = MetadataCatalog.get(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else train
    given = read_embeddings(node.TEXT_EMBEDDINGS, test, backbone.dim_latent) if node.TEXT_EMBEDDINGS else {}
    embedder = backbone.name_embedder(cfg.MODEL.FC_CLIP.TEXT_CACHE, ZERO_SHOT_TEMPLATES[node.TEMPLATES], given)
    return ZeroShotVocabularies(embedder, train, test, node.SETTING, cfg.MODEL.FC_CLIP.VOCABULARY_DIR)
