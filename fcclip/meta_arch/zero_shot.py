"""What the zero-shot models share: training on seen classes, sliding over test images, answering for any names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.events import get_event_storage
from torch import Tensor

from fcclip.clip.base import ClipBackbone
from fcclip.inference.masks import chunk_bytes_of
from fcclip.inference.sliding import resize_scores, resized_labels, slide
from fcclip.meta_arch.vocabulary_model import VocabularyModel
from fcclip.meta_arch.zero_shot_vocabularies import TEMPLATES, ZeroShotVocabularies, read_embeddings
from fcclip.modeling.zero_shot.labels import IGNORE, pseudo_labels, seen_labels
from fcclip.modeling.zero_shot.loss import build_loss, pixel_accuracy
from fcclip.text import TextClassifier
from fcclip.weights import WeightState


class ZeroShotModel(VocabularyModel, ABC):
    """Semantic segmentation of seen and unseen classes by matching names with the patches of a CLIP.

    A subclass says how: it implements :meth:`patch_logits`.

    Args:
        backbone: the CLIP.
        vocabularies: classes of training and test.
        setting: inductive (unseen pixels are ignored), transductive (they get pseudo labels) or fully_supervised.
        loss: nel or softmax.
        mask_weight, dice_weight: of the losses.
        seen_penalty: subtracted from the score of seen classes, which the model prefers unduly.
        pixel_mean, pixel_std: by channel, in the 0..255 range.
        crop_size, stride: of the window that slides over a test image, in pixels; training images are padded to a crop.
        chunk_bytes: of class scores at the size of the result that are held at a time, besides the result.
        allow_random_weights: run although weights were not loaded.
    """

    vocabularies: ZeroShotVocabularies
    pixel_std: Tensor
    has_unused_parameters = True  # the decoders' self-attention, and what follows the last layer's scores

    def __init__(
        self,
        *,
        backbone: ClipBackbone,
        vocabularies: ZeroShotVocabularies,
        setting: str,
        loss: str,
        mask_weight: float,
        dice_weight: float,
        seen_penalty: float,
        pixel_mean: list[float],
        pixel_std: list[float],
        crop_size: int,
        stride: int,
        chunk_bytes: int,
        allow_random_weights: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.vocabularies = vocabularies
        self.setting = setting
        self.mutually_exclusive = loss == "softmax"
        self.criterion = build_loss(loss, vocabularies.num_training_classes, mask_weight, dice_weight)
        self.seen_penalty = seen_penalty
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.crop_size, self.stride = crop_size, stride
        self.chunk_bytes = chunk_bytes
        self.semantic_labels_only = False
        self.weights = WeightState(backbone, allow_random_weights)
        self.register_load_state_dict_post_hook(_after_loading)

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
            "chunk_bytes": chunk_bytes_of(cfg.MODEL.FC_CLIP.TEST_CHUNK_MB),
            "allow_random_weights": cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS,
        }

    @abstractmethod
    def patch_logits(self, images: Tensor, text_embeddings: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) and unit text rows (K, E) -> a logit a row and patch, (B, K, h, w)."""

    def mask_logits(self, images: Tensor, text_embeddings: Tensor) -> Tensor:
        """How likely each pixel is to be what each text says.

        Args:
            images: (B, 3, H, W), normalised with ``pixel_mean`` and ``pixel_std``.
            text_embeddings: (K, E) unit rows.

        Returns:
            (B, K, H, W), before the sigmoid.
        """
        return _upsample(self.patch_logits(images, text_embeddings), images)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, results otherwise.

        Args:
            batched_inputs: by image ``image`` (3, H, W), RGB in 0..255; for training ``sem_seg`` (H, W) int64, class
                ids of the training dataset and 255 where ignored; for results optionally ``height`` and ``width``.

        Returns:
            In training the weighted losses by name. Otherwise by image ``sem_seg``: (C, height, width) scores, or
            (height, width) labels with ``semantic_labels_only``.

        Raises:
            RuntimeError: if weights were not loaded.
        """
        self.weights.check(self.training)
        images = [(x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs]
        if self.training:
            return self.losses(*self._training_batch(images, batched_inputs))
        with torch.no_grad():
            return [self._result(image, x) for image, x in zip(images, batched_inputs, strict=True)]

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses of normalised images (B, 3, H, W) and their label maps (B, H, W)."""
        logits = self.class_logits(images, self.vocabularies.classifier(True, self.device))
        labels = self.training_labels(labels, logits)
        log_scalar("pixel_accuracy", pixel_accuracy(logits, labels))
        return self.criterion(logits, labels)

    def training_labels(self, labels: Tensor, logits: Tensor) -> Tensor:
        """What the loss compares logits (B, K, H, W) with, made of ground truth (B, H, W) as the setting says."""
        unseen = self.vocabularies.unseen
        if self.setting == "inductive":
            return seen_labels(labels, unseen, self.vocabularies.classes)
        return pseudo_labels(labels, logits, unseen) if unseen else labels

    def class_logits(self, images: Tensor, text: TextClassifier) -> Tensor:
        """Mask logits (B, C, H, W) of classes; of a class's synonyms the best one counts, patch by patch."""
        logits = self.patch_logits(images, text.embeddings)
        if text.rows_of_class.shape[1] > 1:
            logits = logits[:, text.rows_of_class].amax(dim=2)
        return _upsample(logits, images)

    def window_scores(self, images: Tensor) -> Tensor:
        """Scores (B, C, H, W) of the classes asked for in normalised images of about the size of a crop."""
        logits = self.class_logits(images, self.vocabularies.classifier(False, self.device)).float()
        probability = logits.softmax(dim=1) if self.mutually_exclusive else logits.sigmoid()
        penalty = self.seen_penalty * self.vocabularies.seen(self.device)
        return probability - penalty[:, None, None]

    def _result(self, image: Tensor, example: dict[str, Any]) -> dict[str, Any]:
        scores = slide(image, self.window_scores, self.crop_size, self.stride)
        output = (example.get("height", image.shape[-2]), example.get("width", image.shape[-1]))
        resize = resized_labels if self.semantic_labels_only else resize_scores
        return {"sem_seg": resize(scores, output, self.chunk_bytes)}

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


def _upsample(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


def log_scalar(name: str, value: Tensor) -> None:
    """Put a number into the log of the training, if one is running."""
    try:
        storage = get_event_storage()
    except AssertionError:  # how Detectron2 says that there is none
        return
    storage.put_scalar(name, value.item())


def _after_loading(model: ZeroShotModel, keys: Any) -> None:
    model.weights.update(keys.missing_keys)
    model.vocabularies.forget_embeddings()


def _vocabularies(cfg: CfgNode, backbone: ClipBackbone) -> ZeroShotVocabularies:
    node = cfg.MODEL.ZERO_SHOT
    if node.TEMPLATES not in TEMPLATES:
        raise ValueError(f"MODEL.ZERO_SHOT.TEMPLATES must be one of {', '.join(TEMPLATES)}, not {node.TEMPLATES!r}")
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty; name a dataset, whose classes the model then knows")
    train = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    test = MetadataCatalog.get((cfg.DATASETS.TEST or cfg.DATASETS.TRAIN)[0])
    given = read_embeddings(node.TEXT_EMBEDDINGS, test, backbone.dim_latent) if node.TEXT_EMBEDDINGS else {}
    embedder = backbone.name_embedder(cfg.MODEL.FC_CLIP.TEXT_CACHE, TEMPLATES[node.TEMPLATES], given)
    return ZeroShotVocabularies(embedder, train, test, node.SETTING, cfg.MODEL.FC_CLIP.VOCABULARY_DIR)
