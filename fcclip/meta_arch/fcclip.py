"""FC-CLIP: one frozen convolutional CLIP is the backbone of the mask generator and the classifier of its masks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_sem_seg_head
from detectron2.structures import ImageList
from torch import Tensor, nn

from fcclip.clip.backbone import CLIP
from fcclip.config import chunk_bytes_of
from fcclip.inference.bands import Size
from fcclip.inference.instance import InstanceInference
from fcclip.inference.masks import MaskUpsampler, feed_bands
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import SemanticInference, resized_semantic_inference
from fcclip.meta_arch.adapter_losses import adapter_losses
from fcclip.meta_arch.base import OpenVocabularyModel, QueryScores, require_numbers, training_metadata
from fcclip.meta_arch.vocabularies import EncodedVocabulary, Vocabularies
from fcclip.modeling.adapter_training import AdapterTraining, build_adapter_training
from fcclip.modeling.classification import classify, geometric_ensemble, leave_to_negatives
from fcclip.modeling.criterion import SetCriterion, build_criterion
from fcclip.modeling.decoded import Decoded, QueryMasks
from fcclip.modeling.mask_adapter import build_mask_adapter
from fcclip.text import TEMPLATES, TextClassifier, read_templates


@dataclass(frozen=True)
class Sizes:
    """Heights and widths of an image on its way.

    Attributes:
        padded: as it goes through the network.
        image: the part of that which is the image.
        output: of the results.
    """

    padded: Size
    image: Size
    output: Size


@dataclass(frozen=True)
class EncodedImage:
    """An image, decoded into masks.

    Attributes:
        decoded: a batch of one.
        sizes: of the image.
    """

    decoded: Decoded
    sizes: Sizes


@META_ARCH_REGISTRY.register()
class FCCLIP(OpenVocabularyModel):
    """Open-vocabulary panoptic, instance and semantic segmentation.

    Args:
        backbone: the frozen CLIP.
        sem_seg_head: backbone features and text to masks and class logits.
        criterion: the training losses.
        train_metadata, test_metadata: Detectron2 metadata that name the classes of training and test.
        vocabulary_dir: folder of vocabulary files that replace the names in the metadata; "" for none.
        object_mask_threshold, overlap_threshold: see `PanopticInference`.
        size_divisibility: images are padded to a multiple of this.
        sem_seg_postprocess_before_inference: resize masks rather than semantic scores to the output size.
        pixel_mean, pixel_std: per channel, in the 0..255 range.
        semantic_on, panoptic_on, instance_on: which results are computed.
        test_topk_per_image: number of instances.
        chunk_bytes: of upsampled masks, and of class scores, that are held at a time.
        geometric_ensemble_alpha, geometric_ensemble_beta: exponents of CLIP on seen and unseen classes.
        ensemble_on_valid_mask: ask CLIP only about queries with a positive pixel at stride 32.
        allow_random_weights: run although weights were not loaded.
        text_cache: keep text embeddings on disk.
        templates: the prompts that names are put into.
        mask_adapter: what CLIP's features are averaged with over each mask; None: its positive pixels, all alike. Where
            there is one, it and the embedding of void alone are trained.
        adapter_training: how.
        clip_trust_weight: see `geometric_ensemble`.

    Raises:
        ValueError: a mask adapter is to read a CLIP that pools by attention.

    Source: Yu et al., "Convolutions Die Hard: Open-Vocabulary Segmentation with Single Frozen Convolutional CLIP",
    NeurIPS 2023, figure 3.
    """

    instances_by_logit = False  # see `InstanceInference`

    @configurable
    def __init__(
        self,
        *,
        backbone: CLIP,
        sem_seg_head: nn.Module,
        criterion: SetCriterion,
        train_metadata: Any,
        test_metadata: Any,
        vocabulary_dir: str = "",
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
        templates: Sequence[str] = TEMPLATES,
        mask_adapter: Any = None,
        adapter_training: AdapterTraining | None = None,
        clip_trust_weight: float = 0.0,
    ) -> None:
        embedder = backbone.name_embedder(text_cache, templates)
        super().__init__(
            backbone=backbone,
            vocabularies=Vocabularies(embedder, train_metadata, test_metadata, vocabulary_dir),
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
            allow_random_weights=allow_random_weights,
        )
        self.sem_seg_head: Any = sem_seg_head
        self.criterion = criterion
        self.void_embedding = nn.Embedding(1, backbone.dim_latent)
        self.mask_adapter = mask_adapter
        self.adapter_training = adapter_training
        if mask_adapter is not None:
            self._freeze_all_but_the_adapter()
        self.clip_trust_weight = clip_trust_weight
        self.object_mask_threshold = object_mask_threshold
        self.overlap_threshold = overlap_threshold
        self.size_divisibility = backbone.size_divisibility if size_divisibility < 0 else size_divisibility
        self.sem_seg_postprocess_before_inference = sem_seg_postprocess_before_inference
        self.semantic_on = semantic_on
        self.panoptic_on = panoptic_on
        self.instance_on = instance_on
        self.test_topk_per_image = test_topk_per_image
        self.chunk_bytes = chunk_bytes
        self.geometric_ensemble_alpha = geometric_ensemble_alpha
        self.geometric_ensemble_beta = geometric_ensemble_beta
        self.ensemble_on_valid_mask = ensemble_on_valid_mask

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone = build_backbone(cfg)
        node, test = cfg.MODEL.FC_CLIP, cfg.MODEL.MASK_FORMER.TEST
        if backbone.dim_latent != node.EMBED_DIM:
            raise ValueError(
                f"MODEL.FC_CLIP.EMBED_DIM is {node.EMBED_DIM}, but {node.CLIP_MODEL_NAME} embeds in "
                f"{backbone.dim_latent} dimensions; set it to {backbone.dim_latent}"
            )
        train_metadata = training_metadata(cfg.DATASETS.TRAIN)
        return {
            "backbone": backbone,
            "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
            "criterion": build_criterion(cfg),
            "train_metadata": train_metadata,
            "test_metadata": MetadataCatalog.get(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else train_metadata,
            "vocabulary_dir": node.VOCABULARY_DIR,
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
            "chunk_bytes": chunk_bytes_of(cfg),
            "geometric_ensemble_alpha": node.GEOMETRIC_ENSEMBLE_ALPHA,
            "geometric_ensemble_beta": node.GEOMETRIC_ENSEMBLE_BETA,
            "ensemble_on_valid_mask": node.ENSEMBLE_ON_VALID_MASK and not cfg.MODEL.MASK_ADAPTER.NAME,
            "allow_random_weights": node.ALLOW_RANDOM_WEIGHTS,
            "text_cache": node.TEXT_CACHE,
            "templates": read_templates(node.TEMPLATES) if node.TEMPLATES else TEMPLATES,
            "mask_adapter": build_mask_adapter(cfg),
            "adapter_training": build_adapter_training(cfg, on_tuned_clip=False),
            "clip_trust_weight": cfg.MODEL.OVRCOAT.CLIP_TRUST_WEIGHT,
        }

    def _freeze_all_but_the_adapter(self) -> None:
        self.backbone.require_pooled_head("Mask-Adapter")
        self.backbone.requires_grad_(False)
        self.sem_seg_head.requires_grad_(False)
        # In the warm-up it would move away from void as the mask generator was trained to see it.
        is_warm_up = self.adapter_training is not None and self.adapter_training.pairs is None
        self.void_embedding.requires_grad_(not is_warm_up)

    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The weighted losses; the ground truth is `instances` with `gt_masks` (n, H, W) and `gt_classes` (n,)."""
        batch = self._batch(batched_inputs)
        targets = [_target(x, batch.tensor) for x in batched_inputs]
        text = self._with_void(self.vocabularies.train(self.device))
        if self.adapter_training is not None:
            return adapter_losses(self, self.adapter_training, batch.tensor, targets, text)
        return self.training_losses(batch.tensor, targets, text)

    def training_losses(
        self, images: Tensor, targets: list[dict[str, Tensor]], names: TextClassifier
    ) -> dict[str, Tensor]:
        """The weighted losses where there is no adapter to be trained.

        Args:
            images: (B, 3, H, W), normalised and padded.
            targets: per image {"labels": (n,) int64, "masks": (n, H, W)}.
            names: of the classes and, last, "none of these".
        """
        return self.criterion(self.sem_seg_head(self.backbone.training_features(images), names), targets)

    def encode(self, batched_inputs: list[dict[str, Any]], only: EncodedVocabulary | None = None) -> list[EncodedImage]:
        """Decode a batch into the masks of each image; see `OpenVocabularyModel.encode`."""
        batch = self._batch(batched_inputs)
        asked = only.to(self.device) if only is not None and self._may_skip else None
        decoded = self.decode(batch.tensor) if asked is None else self.decode(batch.tensor, asked)
        padded = (batch.tensor.shape[-2], batch.tensor.shape[-1])
        return [
            EncodedImage(decoded.image(i), Sizes(padded, size, (x.get("height", size[0]), x.get("width", size[1]))))
            for i, (x, size) in enumerate(zip(batched_inputs, batch.image_sizes, strict=True))
        ]

    def answer(self, encoded: EncodedImage, classes: EncodedVocabulary, labels_only: bool = False) -> dict[str, Any]:
        """See `OpenVocabularyModel.answer`."""
        class_logits = self.classify(encoded.decoded, classes.to(self.device))
        asked, masks = classes.vocabulary, encoded.decoded.mask_logits[0]
        require_numbers("class scores", class_logits)
        require_numbers("masks", masks)
        return self.merge(class_logits[0], masks, encoded.sizes, asked.thing_ids, labels_only, asked.thresholds)

    def decode(self, images: Tensor, only: EncodedVocabulary | None = None) -> Decoded:
        """What the network says of images (B, 3, H, W), normalised and padded; it knows no class.

        Args:
            images: see above.
            only: all that panoptic results will be asked for; CLIP need not see what is void among these classes.
        """
        features = self.backbone(images)
        dense = features["clip_vis_dense"]
        masks = self.sem_seg_head.decode(features)
        coarse_masks = F.interpolate(masks.logits, size=dense.shape[-2:], mode="bilinear", align_corners=False)
        places = self.embed_places(dense)
        seen_masks = masks.logits if only is None else self._without_void(masks, only)
        return Decoded(
            features=dense,
            mask_logits=masks.logits,
            mask_embeddings=masks.embeddings,
            query_embeddings=masks.queries,
            clip_embeddings=self.embed_masks(images, dense, seen_masks, coarse_masks, places),
            on_features=(coarse_masks > 0).flatten(2).any(dim=-1),
            places=places,
        )

    def embed_places(self, dense: Tensor) -> Tensor | None:
        """CLIP's embedding of every place, (B, E, h, w), of dense features (B, C, h, w); None where it has no use."""
        if self.mask_adapter is None:
            return None
        return self.backbone.embed_pooled(dense.float().flatten(2).mT).mT.unflatten(2, dense.shape[-2:])

    def embed_masks(
        self, images: Tensor, dense: Tensor, masks: Tensor, coarse_masks: Tensor, places: Tensor | None
    ) -> Tensor:
        """CLIP embeddings (B, Q, E) of the masks, pooled from the features of the whole image.

        Args:
            images: (B, 3, H, W), normalised.
            dense: (B, C, H/32, W/32) CLIP features.
            masks: (B, Q, H/4, W/4) logits.
            coarse_masks: the same at the resolution of `dense`.
            places: from `embed_places`.
        """
        if self.mask_adapter is not None:
            return self.mask_adapter.embed_masks(dense.float(), places, masks, self.backbone.embed_pooled)
        return self.backbone.embed_masks(dense, coarse_masks)

    def classify(self, decoded: Decoded, classes: EncodedVocabulary) -> Tensor:
        """Class logits (B, Q, C + 1) of the trained classifier and of CLIP together, void last; in float32."""
        in_vocab, out_vocab = self.classify_apart(decoded, classes)
        exponents = torch.where(classes.seen, self.geometric_ensemble_alpha, self.geometric_ensemble_beta)
        if self.ensemble_on_valid_mask:
            exponents = exponents * decoded.on_features[..., None]
        joint = geometric_ensemble(in_vocab, out_vocab, exponents, self.clip_trust_weight)
        if classes.contest is None:
            return joint
        return leave_to_negatives(joint, self.classify(decoded, classes.contest.everyone), classes.contest.weights)

    def classify_apart(self, decoded: Decoded, classes: EncodedVocabulary) -> tuple[Tensor, Tensor]:
        """What each classifier says: logits (B, Q, C + 1) of the trained one, void last, and (B, Q, C) of CLIP."""
        with torch.autocast(self.device.type, enabled=False):
            text = self._with_void(classes)
            in_vocab = self.sem_seg_head.classify(decoded.mask_embeddings, text)
            shown = self.text_of_images(text, decoded.places)
            out_vocab = classify(decoded.clip_embeddings, shown, self.backbone.clip_model.logit_scale)
            return in_vocab, out_vocab[..., :-1]

    def text_of_images(self, text: TextClassifier, places: Tensor | None) -> TextClassifier:
        """The names as CLIP compares them with masks of these images, whose `embed_places` is given."""
        return text

    def explain(self, encoded: EncodedImage, classes: EncodedVocabulary, queries: Sequence[int]) -> QueryScores:
        """See `OpenVocabularyModel.explain`."""
        chosen = encoded.decoded.of_queries(queries)
        classes = classes.to(self.device)
        in_vocab, out_vocab = self.classify_apart(chosen, classes)
        return QueryScores(
            joint=self.classify(chosen, classes)[0].softmax(dim=-1)[:, :-1],
            in_vocab=in_vocab[0, :, :-1].softmax(dim=-1),
            out_vocab=out_vocab[0].softmax(dim=-1),
            embeddings=F.normalize(chosen.clip_embeddings[0], dim=-1),
        )

    def merge(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        sizes: Sizes,
        thing_ids: Collection[int],
        labels_only: bool = False,
        thresholds: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """The results of one image.

        Args:
            class_logits: (Q, C + 1), void last.
            mask_logits: (Q, h, w).
            sizes: of the image.
            thing_ids: classes that are countable.
            labels_only: see `labels_only`.
            thresholds: least score of each class, C numbers.

        Returns:
            See `answer`.
        """
        if not (self.sem_seg_postprocess_before_inference or self.panoptic_on or self.instance_on):
            masks = MaskUpsampler(mask_logits, sizes.padded, sizes.image, sizes.image)
            scores = resized_semantic_inference(
                class_logits, masks, sizes.output, self.chunk_bytes, labels_only, thresholds
            )
            return {"sem_seg": scores}
        wanted: dict[str, Any] = {}
        if self.semantic_on:
            wanted["sem_seg"] = SemanticInference(class_logits, sizes.output, self.chunk_bytes, labels_only, thresholds)
        if self.panoptic_on:
            wanted["panoptic_seg"] = PanopticInference(
                class_logits, sizes.output, thing_ids, self.object_mask_threshold, self.overlap_threshold, thresholds
            )
        if self.instance_on:
            kept = thing_ids if self.panoptic_on else None
            wanted["instances"] = InstanceInference(
                class_logits, sizes.output, self.test_topk_per_image, kept, thresholds, self.instances_by_logit
            )
        masks = MaskUpsampler(mask_logits, sizes.padded, sizes.image, sizes.output)
        feed_bands(masks, list(wanted.values()), self.chunk_bytes)
        results = {name: inference.result() for name, inference in wanted.items()}
        if "panoptic_seg" in results:
            panoptic_map, segments = results["panoptic_seg"]
            results["panoptic_seg"] = (panoptic_map, [segment.as_info() for segment in segments])
            results["panoptic_scores"] = [segment.score for segment in segments]
            results["panoptic_queries"] = [segment.query for segment in segments]
        return results

    def _batch(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        return ImageList.from_tensors([self.normalize(x["image"]) for x in batched_inputs], self.size_divisibility)

    @property
    def _may_skip(self) -> bool:
        """Whether results show nothing of void queries, and time is saved by not asking CLIP about them."""
        return self.mask_adapter is not None and self.panoptic_on and not (self.semantic_on or self.instance_on)

    def _without_void(self, masks: QueryMasks, only: EncodedVocabulary) -> Tensor:
        """Mask logits, emptied where a query will be void whatever CLIP says: it has more than half of the chances."""
        logits = self.sem_seg_head.classify(masks.embeddings, self._with_void(only))
        least_void = logits.softmax(dim=-1)[..., -1] * (1 - self.clip_trust_weight)
        return masks.logits.masked_fill((least_void > 0.5)[..., None, None], -torch.inf)

    def _with_void(self, classes: EncodedVocabulary) -> TextClassifier:
        """The names of the classes and, last, "none of these"."""
        return classes.text.with_void(F.normalize(self.void_embedding.weight, dim=-1))


def _target(example: dict[str, Any], batch: Tensor) -> dict[str, Tensor]:
    """Ground truth of one image, its masks zero-padded like the image."""
    if "instances" not in example:
        raise ValueError(f'training image {example.get("file_name", "")} has no "instances"; check the dataset mapper')
    instances = example["instances"].to(batch.device)
    masks = instances.gt_masks
    height, width = masks.shape[-2:]
    masks = F.pad(masks, (0, batch.shape[-1] - width, 0, batch.shape[-2] - height))
    return {"labels": instances.gt_classes, "masks": masks}
