"""FC-CLIP: one frozen convolutional CLIP is the backbone of the mask generator and the classifier of its masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_sem_seg_head
from detectron2.structures import ImageList
from torch import Tensor, nn

from fcclip.clip.backbone import CLIP
from fcclip.inference.instance import InstanceInference
from fcclip.inference.masks import MaskUpsampler, Size, chunk_bytes_of, feed_bands
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import SemanticInference, resized_semantic_inference
from fcclip.meta_arch.vocabularies import VocabularyPair
from fcclip.meta_arch.vocabulary_model import VocabularyModel
from fcclip.modeling.classification import classify, geometric_ensemble
from fcclip.modeling.criterion import build_criterion
from fcclip.text import TextClassifier
from fcclip.weights import WeightState


@META_ARCH_REGISTRY.register()
class FCCLIP(VocabularyModel):
    """Open-vocabulary panoptic, instance and semantic segmentation.

    Args:
        backbone: the frozen CLIP.
        sem_seg_head: backbone features and text to masks and class logits.
        criterion: the training losses.
        train_metadata, test_metadata: Detectron2 metadata that name the classes of training and test.
        vocabulary_dir: folder of vocabulary files that replace the names in the metadata; "" for none.
        num_queries: number of masks.
        object_mask_threshold, overlap_threshold: see :class:`PanopticInference`.
        size_divisibility: images are padded to a multiple of this.
        sem_seg_postprocess_before_inference: resize masks rather than semantic scores to the output size.
        pixel_mean, pixel_std: by channel, in the 0..255 range.
        semantic_on, panoptic_on, instance_on: which results are computed.
        test_topk_per_image: number of instances.
        chunk_bytes: of upsampled masks, and of class scores, that are held at a time.
        geometric_ensemble_alpha, geometric_ensemble_beta: exponents of CLIP on seen and unseen classes.
        ensemble_on_valid_mask: ask CLIP only about queries with a positive pixel at stride 32.
        allow_random_weights: run although weights were not loaded.
        text_cache: keep text embeddings on disk.

    Source: Yu et al., "Convolutions Die Hard: Open-Vocabulary Segmentation with Single Frozen Convolutional CLIP",
    NeurIPS 2023, figure 3.
    """

    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        backbone: CLIP,
        sem_seg_head: nn.Module,
        criterion: nn.Module,
        train_metadata: Any,
        test_metadata: Any,
        vocabulary_dir: str = "",
        num_queries: int,
        object_mask_threshold: float,
        overlap_threshold: float,
        size_divisibility: int,
        sem_seg_postprocess_before_inference: bool,
        pixel_mean: list[float],
        pixel_std: list[float],
        semantic_on: bool,
        panoptic_on: bool,
        instance_on: bool,
        test_topk_per_image: int,
        chunk_bytes: int,
        geometric_ensemble_alpha: float,
        geometric_ensemble_beta: float,
        ensemble_on_valid_mask: bool,
        allow_random_weights: bool = False,
        text_cache: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head: Any = sem_seg_head
        self.criterion = criterion
        self.void_embedding = nn.Embedding(1, backbone.dim_latent)
        self.num_queries = num_queries
        self.object_mask_threshold = object_mask_threshold
        self.overlap_threshold = overlap_threshold
        self.size_divisibility = backbone.size_divisibility if size_divisibility < 0 else size_divisibility
        self.sem_seg_postprocess_before_inference = sem_seg_postprocess_before_inference
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.semantic_on = semantic_on
        self.panoptic_on = panoptic_on
        self.instance_on = instance_on
        self.semantic_labels_only = False
        self.decoder_dtype = torch.float32
        self.replay: Callable[[Tensor], tuple[Tensor, ...]] | None = None  # `decode`, if it is in CUDA graphs
        self.test_topk_per_image = test_topk_per_image
        self.chunk_bytes = chunk_bytes
        self.geometric_ensemble_alpha = geometric_ensemble_alpha
        self.geometric_ensemble_beta = geometric_ensemble_beta
        self.ensemble_on_valid_mask = ensemble_on_valid_mask
        self.vocabularies = VocabularyPair(
            backbone.name_embedder(text_cache), train_metadata, test_metadata, vocabulary_dir
        )
        self.weights = WeightState(backbone, allow_random_weights)
        self.register_load_state_dict_post_hook(_after_loading)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone = build_backbone(cfg)
        node, test = cfg.MODEL.FC_CLIP, cfg.MODEL.MASK_FORMER.TEST
        if backbone.dim_latent != node.EMBED_DIM:
            raise ValueError(
                f"MODEL.FC_CLIP.EMBED_DIM is {node.EMBED_DIM}, but {node.CLIP_MODEL_NAME} embeds in "
                f"{backbone.dim_latent} dimensions; set it to {backbone.dim_latent}"
            )
        return {
            "backbone": backbone,
            "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
            "criterion": build_criterion(cfg),
            "train_metadata": _metadata(cfg.DATASETS.TRAIN, "DATASETS.TRAIN"),
            "test_metadata": _metadata(cfg.DATASETS.TEST or cfg.DATASETS.TRAIN, "DATASETS.TEST"),
            "vocabulary_dir": node.VOCABULARY_DIR,
            "num_queries": cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES,
            "object_mask_threshold": test.OBJECT_MASK_THRESHOLD,
            "overlap_threshold": test.OVERLAP_THRESHOLD,
            "size_divisibility": cfg.MODEL.MASK_FORMER.SIZE_DIVISIBILITY,
            "sem_seg_postprocess_before_inference": test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "semantic_on": test.SEMANTIC_ON,
            "panoptic_on": test.PANOPTIC_ON,
            "instance_on": test.INSTANCE_ON,
            "test_topk_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "chunk_bytes": chunk_bytes_of(node.TEST_CHUNK_MB),
            "geometric_ensemble_alpha": node.GEOMETRIC_ENSEMBLE_ALPHA,
            "geometric_ensemble_beta": node.GEOMETRIC_ENSEMBLE_BETA,
            "ensemble_on_valid_mask": node.ENSEMBLE_ON_VALID_MASK,
            "allow_random_weights": node.ALLOW_RANDOM_WEIGHTS,
            "text_cache": node.TEXT_CACHE,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, results otherwise.

        Args:
            batched_inputs: by image ``image`` (3, H, W), RGB in 0..255; for training ``instances`` with ``gt_masks``
                (n, H, W) and ``gt_classes`` (n,); for results optionally ``height`` and ``width`` of the output.

        Returns:
            In training the weighted losses by name. Otherwise by image, as far as switched on:
            ``sem_seg`` (C, height, width) scores, or (height, width) labels with ``semantic_labels_only``;
            ``panoptic_seg``, the (height, width) int32 map and its segments (id, isthing, category_id), with
            ``panoptic_scores``, a score a segment; ``instances`` (pred_masks, pred_boxes, scores, pred_classes).

        Raises:
            RuntimeError: if weights were not loaded.
        """
        self.weights.check(self.training)
        images = [(x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs]
        batch = ImageList.from_tensors(images, self.size_divisibility)
        if self.training:
            return self._losses(batch, batched_inputs)
        with torch.no_grad():
            return self._results(batch, batched_inputs)

    def _losses(self, batch: ImageList, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        outputs = self.sem_seg_head(self.backbone.training_features(batch.tensor), self._text())
        return self.criterion(outputs, [_target(x, batch.tensor) for x in batched_inputs])

    def _results(self, batch: ImageList, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        text = self._text()
        dense, masks, in_vocab = self._segment(batch.tensor, text)
        coarse_masks = F.interpolate(masks, size=dense.shape[-2:], mode="bilinear", align_corners=False)
        embeddings = self._embed_masks(batch.tensor, dense, masks, coarse_masks)
        class_logits = self._ensemble(in_vocab, embeddings, coarse_masks, text)
        padded = (batch.tensor.shape[-2], batch.tensor.shape[-1])
        results = []
        for i, (x, size) in enumerate(zip(batched_inputs, batch.image_sizes, strict=True)):
            output = (x.get("height", size[0]), x.get("width", size[1]))
            results.append(self._result_of_image(class_logits[i], masks[i], padded, size, output))
        return results

    def _segment(self, images: Tensor, text: TextClassifier) -> tuple[Tensor, Tensor, Tensor]:
        """CLIP's dense features of images (B, 3, H, W), mask logits, and class logits of the trained classifier."""
        if self.replay is not None:
            dense, masks, embeddings = self.replay(images)
            return dense, masks, self.sem_seg_head.predictor.classify(embeddings, text)
        features = self.backbone(images)
        with self._decoder_precision():
            outputs = self.sem_seg_head(features, text)
        return features["clip_vis_dense"], outputs["pred_masks"], outputs["pred_logits"]

    def decode(self, images: Tensor) -> tuple[Tensor, ...]:
        """What inference computes of images (B, 3, H, W), normalised and padded, before it needs the classes.

        Returns:
            CLIP's dense features (B, C, H/32, W/32), mask logits (B, Q, H/4, W/4), mask embeddings (B, Q, E).
        """
        features = self.backbone(images)
        with self._decoder_precision():
            masks, embeddings = self.sem_seg_head.decode(features)
        return features["clip_vis_dense"], masks, embeddings

    def _decoder_precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.decoder_dtype, enabled=self.decoder_dtype != torch.float32)

    def _text(self) -> TextClassifier:
        """The classes of the present mode, and void."""
        void = F.normalize(self.void_embedding.weight, dim=-1)
        return self.vocabularies.classifier(self.training, self.device).with_void(void)

    def _embed_masks(self, images: Tensor, dense: Tensor, masks: Tensor, coarse_masks: Tensor) -> Tensor:
        """CLIP embeddings (B, Q, E) of the masks, pooled from the features of the whole image.

        Args:
            images: (B, 3, H, W), normalised.
            dense: (B, C, H/32, W/32) CLIP features.
            masks: (B, Q, H/4, W/4) logits.
            coarse_masks: the same at the resolution of ``dense``.
        """
        return self.backbone.embed_masks(dense, coarse_masks)

    def _ensemble(self, in_vocab: Tensor, embeddings: Tensor, coarse_masks: Tensor, text: TextClassifier) -> Tensor:
        """Class logits (B, Q, C + 1) of both classifiers together."""
        out_vocab = classify(embeddings, text, self.backbone.clip_model.logit_scale)[..., :-1]
        seen = self.vocabularies.seen(self.device)
        exponents = torch.where(seen, self.geometric_ensemble_alpha, self.geometric_ensemble_beta)
        if self.ensemble_on_valid_mask:
            valid = (coarse_masks > 0).flatten(2).any(dim=-1, keepdim=True)
            exponents = exponents * valid
        return geometric_ensemble(in_vocab, out_vocab, exponents)

    def _result_of_image(
        self, class_logits: Tensor, mask_logits: Tensor, padded: Size, image: Size, output: Size
    ) -> dict[str, Any]:
        if not (self.sem_seg_postprocess_before_inference or self.panoptic_on or self.instance_on):
            masks = MaskUpsampler(mask_logits, padded, image, image)
            labels_only = self.semantic_labels_only
            return {"sem_seg": resized_semantic_inference(class_logits, masks, output, self.chunk_bytes, labels_only)}
        semantic = self._semantic_inference(class_logits, output) if self.semantic_on else None
        panoptic = self._panoptic_inference(class_logits, output) if self.panoptic_on else None
        instance = self._instance_inference(class_logits, output) if self.instance_on else None
        wanted = [inference for inference in (semantic, panoptic, instance) if inference is not None]
        feed_bands(MaskUpsampler(mask_logits, padded, image, output), wanted, self.chunk_bytes)
        result: dict[str, Any] = {}
        if semantic is not None:
            result["sem_seg"] = semantic.result
        if panoptic is not None:
            panoptic_map, segments = panoptic.result()
            result["panoptic_seg"] = (panoptic_map, [segment.as_info() for segment in segments])
            result["panoptic_scores"] = [segment.score for segment in segments]
        if instance is not None:
            result["instances"] = instance.result()
        return result

    def _semantic_inference(self, class_logits: Tensor, output: Size) -> SemanticInference:
        return SemanticInference(class_logits, output, self.chunk_bytes, self.semantic_labels_only)

    def _panoptic_inference(self, class_logits: Tensor, output: Size) -> PanopticInference:
        things = self.vocabulary.thing_ids
        return PanopticInference(class_logits, output, things, self.object_mask_threshold, self.overlap_threshold)

    def _instance_inference(self, class_logits: Tensor, output: Size) -> InstanceInference:
        kept = self.vocabulary.thing_ids if self.panoptic_on else None
        return InstanceInference(class_logits, output, self.test_topk_per_image, kept)


def _after_loading(model: FCCLIP, keys: Any) -> None:
    model.weights.update(keys.missing_keys)
    model.vocabularies.forget_embeddings()


def _metadata(names: tuple[str, ...], key: str) -> Any:
    if not names:
        raise ValueError(f"{key} is empty; name a dataset, whose classes the model then knows")
    return MetadataCatalog.get(names[0])


def _target(example: dict[str, Any], batch: Tensor) -> dict[str, Tensor]:
    """Ground truth of one image, its masks zero-padded like the image."""
    if "instances" not in example:
        raise ValueError(f'training image {example.get("file_name", "")} has no "instances"; check the dataset mapper')
    instances = example["instances"].to(batch.device)
    masks = instances.gt_masks
    height, width = masks.shape[-2:]
    masks = F.pad(masks, (0, batch.shape[-1] - width, 0, batch.shape[-2] - height))
    return {"labels": instances.gt_classes, "masks": masks}
