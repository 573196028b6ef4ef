"""MinVIS_OV: FC-CLIP on videos without any training on videos.

Frames go through the network one by one; queries are matched from frame to frame, their classes averaged over time, and
results made of whole videos. The state dict is that of FC-CLIP, whose published checkpoints it takes.

Source: DVIS_Plus (Zhang et al., 2023), after MinVIS (Huang et al., NeurIPS 2022) and FC-CLIP (Yu et al., NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import ImageList
from torch import Tensor, nn

from fcclip.inference.tracking.matching import SlotMatcher
from fcclip.inference.tracking.tubes import FrameSize, InstanceTubes, PanopticTubes, SemanticTubes
from fcclip.inference.tracking.votes import Votes
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.modeling.decoded import Decoded
from fcclip.text import TextClassifier
from fcclip.vocabulary import Vocabulary

TASKS = ("vps", "vis", "vss")
VOID_MODES = ("coco", "mean", "max")


@dataclass(frozen=True)
class VideoOptions:
    """How MinVIS_OV treats a video.

    Attributes:
        task: "vps" (panoptic), "vis" (instances) or "vss" (semantic).
        window: frames that go through the network together; None for all.
        keep_masks: hold the masks of the whole video; else the network runs a second time, with the same results.
        memory_frames, memory_votes: see `SlotMatcher`.

    Raises:
        ValueError: an unknown task, or a window without frames.
    """

    task: str = "vis"
    window: int | None = None
    keep_masks: bool = True
    memory_frames: int = 1
    memory_votes: int = 1

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f'MODEL.MASK_FORMER.TEST.TASK is "{self.task}"; choose one of {", ".join(TASKS)}')
        if self.window is not None and self.window < 1:
            raise ValueError(f"MODEL.MASK_FORMER.TEST.WINDOW_SIZE is at least 1, not {self.window}")


@META_ARCH_REGISTRY.register()
class MinVIS_OV(FCCLIP):
    """FC-CLIP that also takes videos; images it treats as FC-CLIP does.

    Args:
        video: how it treats them.
        train_names: the training sets; each has a void embedding of its own.
        void_merge_mode: void of test sets that are none of these: "coco" that of the first, "mean", or "max" of all.
        all_vocabulary_void: names of training that were not asked for count as void.
        arguments: those of `FCCLIP`.

    Raises:
        ValueError: an unknown `void_merge_mode`.
    """

    @configurable
    def __init__(
        self,
        *,
        video: VideoOptions,
        train_names: Sequence[str],
        void_merge_mode: str = "coco",
        all_vocabulary_void: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if void_merge_mode not in VOID_MODES:
            raise ValueError(f'MODEL.FC_CLIP.VOID_MERGE_MODE is "{void_merge_mode}"; choose one of {VOID_MODES}')
        self.video = video
        self._train_names = tuple(train_names)
        self._void_merge_mode = void_merge_mode
        self._all_vocabulary_void = all_vocabulary_void
        self._asked_name: str | None = arguments["test_metadata"].get("name")
        if len(self._train_names) > 1:
            self.additional_void_embedding = nn.Embedding(len(self._train_names) - 1, self.backbone.dim_latent)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        test, names = cfg.MODEL.MASK_FORMER.TEST, cfg.DATASETS.TRAIN
        arguments = super().from_config(cfg)
        directory = arguments["vocabulary_dir"]
        return {
            **arguments,
            "train_metadata": joined_classes([MetadataCatalog.get(name) for name in names], directory),
            "video": VideoOptions(
                task=test.TASK,
                window=test.WINDOW_SIZE if test.WINDOW_INFERENCE else None,
                keep_masks=test.KEEP_MASKS,
                memory_frames=test.NUM_FRAME,
                memory_votes=test.NUM_TOPK,
            ),
            "train_names": names,
            "void_merge_mode": cfg.MODEL.FC_CLIP.VOID_MERGE_MODE,
            "all_vocabulary_void": cfg.MODEL.FC_CLIP.ALL_VOCABULARY_VOID,
        }

    def set_metadata(self, metadata: Any) -> None:
        super().set_metadata(metadata)
        self._asked_name = metadata.get("name")

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        super().set_vocabulary(vocabulary)
        self._asked_name = None

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """As `FCCLIP`; an input whose `image` is a list of (3, H, W) frames is a video, see `answer_video`."""
        if self.training or not batched_inputs or not isinstance(batched_inputs[0]["image"], list | tuple):
            return super().forward(batched_inputs)
        self.weights.check(training=False)
        with torch.no_grad():
            classes = self.vocabularies.test(self.device)
            return [self.answer_video(video, classes) for video in batched_inputs]

    def answer_video(self, video: dict[str, Any], classes: EncodedVocabulary) -> dict[str, Any]:
        """The results of one video of T frames, for the task of `video.task`.

        Args:
            video: `image`, a list of (3, h, w) frames of one size; optionally `height` and `width` of the output.
            classes: what to find.

        Returns:
            `task` and `image_size` (height, width), and of vps `pred_masks` (T, H, W) int32 segment ids and
            `segments_infos` (id, isthing, category_id); of vis `pred_scores`, `pred_labels` and `pred_masks` (a
            (T, H, W) bool tensor each) of 10 instances; of vss `pred_masks` (T, H, W) int64 classes.

        Raises:
            ValueError: there are no frames.
        """
        if not video["image"]:
            raise ValueError("a video needs at least one frame")
        matcher = SlotMatcher(self.video.memory_frames, self.video.memory_votes)
        votes = Votes()
        orders: list[Tensor] = []
        kept: list[Tensor] = []
        for decoded in self._windows(video):
            log_probabilities = self.classify(decoded, classes)
            for frame, queries in enumerate(decoded.query_embeddings):
                order = matcher.match(queries)
                matcher.remember(queries[order])
                votes.add(log_probabilities[frame][order])
                orders.append(order)
                if self.video.keep_masks:
                    kept.append(decoded.mask_logits[frame][order])
        size = self._frame_size(video)
        masks = iter(kept) if self.video.keep_masks else self._masks_again(video, orders)
        found = self._merge_tubes(votes.mean(), masks, size, classes)
        return {"task": self.video.task, "image_size": size.output, **found}

    def _windows(self, video: dict[str, Any]) -> Iterator[Decoded]:
        """What the network says of each window of frames."""
        frames = video["image"]
        length = self.video.window or len(frames)
        for start in range(0, len(frames), length):
            images = [self.normalize(frame) for frame in frames[start : start + length]]
            yield self.decode(ImageList.from_tensors(images, self.size_divisibility).tensor)

    def _frame_size(self, video: dict[str, Any]) -> FrameSize:
        """That of the first frame, which stands for all."""
        height, width = video["image"][0].shape[-2:]
        multiple = max(self.size_divisibility, 1)
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        return FrameSize(padded, (height, width), (video.get("height", height), video.get("width", width)))

    def _masks_again(self, video: dict[str, Any], orders: list[Tensor]) -> Iterator[Tensor]:
        remaining = iter(orders)
        for decoded in self._windows(video):
            for logits in decoded.mask_logits:
                yield logits[next(remaining)]

    def _merge_tubes(
        self, votes: Tensor, masks: Iterator[Tensor], size: FrameSize, classes: EncodedVocabulary
    ) -> dict[str, Any]:
        if self.video.task == "vps":
            panoptic = PanopticTubes(
                votes,
                size,
                classes.vocabulary.thing_ids,
                self.object_mask_threshold,
                self.overlap_threshold,
                self.chunk_bytes,
            )
            for frame in masks:
                panoptic.add(frame)
            maps, segments = panoptic.result()
            return {"pred_masks": maps, "segments_infos": [segment.as_info() for segment in segments]}
        if self.video.task == "vss":
            semantic = SemanticTubes(votes, size, self.chunk_bytes)
            return {"pred_masks": torch.stack([semantic.add(frame) for frame in masks])}
        instances = InstanceTubes(votes, size, self.chunk_bytes)
        tubes = torch.stack([instances.add(frame) for frame in masks], dim=1)
        return {
            "pred_scores": instances.scores.tolist(),
            "pred_labels": instances.labels.tolist(),
            "pred_masks": list(tubes),
        }

    def _with_void(self, classes: EncodedVocabulary) -> TextClassifier:
        void = self._void_rows()
        if self._all_vocabulary_void and not self.training:
            void = torch.cat([void, self._other_names(classes.vocabulary)])
        return classes.text.with_void(void)

    def _void_rows(self) -> Tensor:
        """(n, E) rows of "none of these" for the dataset that was asked for."""
        if len(self._train_names) == 1:
            return F.normalize(self.void_embedding.weight, dim=-1)
        unit = F.normalize(torch.cat([self.void_embedding.weight, self.additional_void_embedding.weight]), dim=-1)
        if self._asked_name in self._train_names:
            return unit[self._train_names.index(self._asked_name), None]
        if self._void_merge_mode == "mean":
            return unit.mean(dim=0, keepdim=True)  # not of unit length, as published
        return unit if self._void_merge_mode == "max" else unit[:1]

    def _other_names(self, asked: Vocabulary) -> Tensor:
        """(n, E) rows of all names of the training classes that share none with a class that was asked for."""
        names = [name for category in self.vocabularies.others(asked.names) for name in category.names]
        if not names:
            return self.void_embedding.weight.new_zeros(0, self.backbone.dim_latent)
        return self.vocabularies.embed(names).to(self.device)


def joined_classes(metadata: Sequence[Any], vocabulary_dir: str = "") -> Any:
    """Metadata that name the classes of several datasets one after the other; one dataset's are as they were."""
    if len(metadata) == 1:
        return metadata[0]
    strings = [string for entry in metadata for string in Vocabulary.from_metadata(entry, vocabulary_dir).class_strings]
    return Metadata(name="+".join(entry.name for entry in metadata), stuff_classes=strings)
