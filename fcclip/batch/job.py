"""A run from beginning to end: plan, see what is missing, have it done by an engine, count."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode

from fcclip.batch.listing import list_source
from fcclip.batch.manifest import claim, counted_parts, fingerprint, write_manifest
from fcclip.batch.parts import cover, list_parts, parts_by_shard, read_notes
from fcclip.batch.plan import Plan, make_plan, read_plan
from fcclip.batch.progress import Progress
from fcclip.batch.store import Store
from fcclip.batch.worker import ModelParcel, Receipt, Settings, Worker
from fcclip.batch.writing import PANOPTIC, remove_unlisted
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Vocabulary

# Shards and a model -> a receipt for every part, as they are done.
Engine = Callable[[Settings, Sequence[int], "Model"], Iterable[Receipt]]


@dataclass(frozen=True)
class Model:
    """A model with its vocabulary, encoded once."""

    cfg: CfgNode
    segmenter: Segmenter
    classes: EncodedVocabulary

    def pack(self) -> ModelParcel:
        """The same for other processes."""
        return ModelParcel.pack(self.cfg, self.classes)


def run_local(settings: Settings, shards: Sequence[int], model: Model) -> Iterable[Receipt]:
    """The engine of one process: reading, network and writing go on beside each other."""
    worker = Worker(settings, model.segmenter, model.classes)
    for shard in shards:
        yield from worker.work(shard)


@dataclass(frozen=True)
class Job:
    """Images to segment.

    Attributes:
        source: see `list_source`.
        cfg: of the model.
        vocabulary: what to look for.
        settings: everything else.
        list_again: look for images that are new; without it, an earlier run's plan counts.
    """

    source: str
    cfg: CfgNode
    vocabulary: Vocabulary
    settings: Settings
    list_again: bool = True

    def run(self, engine: Engine) -> dict[str, Any]:
        """Do what is missing; the manifest.

        Raises:
            ValueError, FileNotFoundError: the source or the target is not as it should be; nothing was done then.
        """
        settings = self.settings
        store = Store(settings.target)
        store.require_writable()
        claim(store, fingerprint(self.cfg, self.vocabulary, settings.threshold, settings.output))
        plan = None if self.list_again else read_plan(store)
        if plan is None:
            plan = make_plan(store, lambda: list_source(self.source, settings.target), settings.shard_size)
        if plan.shard_size != settings.shard_size:
            raise ValueError(
                f"{store.address} is in shards of {plan.shard_size} images; leave --shard-size at that, or name "
                "another --output"
            )
        shards, images = self._open_shards(store, plan)
        print(f"{plan.total} images, {images} of them to do, in {len(shards)} shards", file=sys.stderr, flush=True)
        progress = Progress(images)
        try:
            if shards:
                for receipt in engine(settings, shards, self._build()):
                    progress.add(receipt)
        finally:
            manifest = write_manifest(store, plan, progress.summary())
        if not manifest["skipped"]:
            remove_unlisted(store, counted_parts(store, plan))
        return manifest

    def _open_shards(self, store: Store, plan: Plan) -> tuple[list[int], int]:
        """The shards in which something is to be done, and the number of those images."""
        if self.settings.retry_failed:
            parts = counted_parts(store, plan)
            failed = {part: count for part, (count, _) in zip(parts, read_notes(store, parts), strict=True) if count}
            return sorted({part.shard for part in failed}), sum(failed.values())
        by_shard = parts_by_shard(list_parts(store))
        shards, images = [], 0
        for shard, size in enumerate(plan.sizes):
            _, extra, missing = cover(by_shard.get(shard, ()), size)
            if missing or extra:
                shards.append(shard)
            images += sum(last - first for first, last in missing)
        return shards, images

    def _build(self) -> Model:
        torch.manual_seed(0)  # random weights, if asked for, are the same in every run
        segmenter = Segmenter.from_cfg(self.cfg)
        if PANOPTIC in self.settings.output.formats and not getattr(segmenter.model, "panoptic_on", False):
            raise ValueError(
                "this model gives no panoptic results, which --format coco-panoptic needs; choose another, such as "
                "--format class-ids, or set MODEL.MASK_FORMER.TEST.PANOPTIC_ON to True"
            )
        return Model(self.cfg, segmenter, segmenter.encode_vocabulary(self.vocabulary))
