"""MinVIS_OV against the recorded results of the published class, from the outputs of the network on."""

import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from torch import Tensor, nn

from fcclip.clip.mask_pooling import mask_pool
from fcclip.config import load_inference_cfg
from fcclip.meta_arch.minvis_ov import MinVIS_OV, VideoOptions, joined_classes
from fcclip.modeling.classification import classify
from fcclip.modeling.decoded import QueryMasks
from fcclip.text import NameEmbedder, TextClassifier
from tests.shared import SHARED, needs_shared
from tests.tiny import REPOSITORY, tiny_model

WIDTH, SIDES = 24, (90, 118)
THRESHOLDS = {"vps": (0.0, 0.8), "vps_loose": (0.3, 0.5)}
CONFIGS = REPOSITORY / "configs" / "open_vocabulary"


@cache
def recorded() -> dict[str, Any]:
    return torch.load(SHARED / "parity/video/minvis_ov_reference.pt", weights_only=True)


def row_of(text: str) -> Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(zlib.crc32(text.encode())))


class StubBackbone(nn.Module):
    """Serves the recorded features of the frame whose number all pixels of the image have."""

    dim_latent, size_divisibility, weights_source = WIDTH, 32, "recorded"

    def __init__(self) -> None:
        super().__init__()
        self.inputs = recorded()["inputs"]
        self.clip_model = nn.Module()
        self.clip_model.logit_scale = nn.Parameter(torch.tensor(self.inputs["clip_logit_scale"]))
        self.calls: list[int] = []

    def name_embedder(self, cached: bool, templates: Sequence[str]) -> NameEmbedder:
        prompts: list[str] = []

        def tokenize(texts: list[str]) -> Tensor:
            start = len(prompts)
            prompts.extend(texts)
            tokens = torch.zeros(len(texts), 8, dtype=torch.int64)
            tokens[:, 0] = torch.arange(start, start + len(texts)) + 1
            return tokens

        return NameEmbedder(tokenize, lambda tokens: torch.stack([row_of(prompts[int(i) - 1]) for i in tokens[:, 0]]))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.calls.append(len(images))
        numbers = images[:, 0, 0, 0].round().long()
        return {"clip_vis_dense": self.inputs["clip_dense"][numbers].float(), "numbers": numbers}

    def embed_masks(self, dense: Tensor, coarse_masks: Tensor) -> Tensor:
        return mask_pool(dense, coarse_masks) @ self.inputs["projection"].float()


class StubHead(nn.Module):
    def decode(self, features: dict[str, Tensor]) -> QueryMasks:
        inputs = recorded()["inputs"]
        names = ("masks", "class_embeddings", "decoder_embeddings")
        return QueryMasks(*(inputs[name][features["numbers"]].float() for name in names))

    def classify(self, embeddings: Tensor, text: TextClassifier) -> Tensor:
        return classify(embeddings, text, torch.tensor(recorded()["inputs"]["head_logit_scale"]))


def recorded_model(run: str, **video: Any) -> MinVIS_OV:
    """The model as it was when a run was recorded."""
    inputs = recorded()["inputs"]
    classes = inputs["train_classes"]
    two_sets = "two_train_sets" in run or "all_vocabulary" in run
    names = ["coco_like", "extra"] if two_sets else ["coco_like"]
    things = {index: index for index in range(inputs["things"])}
    test = inputs["test_classes"]
    low, overlap = THRESHOLDS.get(run, (0.0, 0.5))
    model = MinVIS_OV(
        video=VideoOptions(task=run[:3], **{"window": 3, **video}),
        train_names=names,
        void_merge_mode=run.rsplit("_", 1)[1] if "two_train_sets" in run else "coco",
        all_vocabulary_void="all_vocabulary" in run,
        backbone=StubBackbone(),
        sem_seg_head=StubHead(),
        criterion=nn.Module(),
        train_metadata=joined_classes([Metadata(name=name, stuff_classes=classes[name]) for name in names]),
        test_metadata=Metadata(name="test", stuff_classes=test, thing_dataset_id_to_contiguous_id=things),
        object_mask_threshold=low,
        overlap_threshold=overlap,
        size_divisibility=32,
        sem_seg_postprocess_before_inference=True,
        pixel_mean=[0.0] * 3,
        pixel_std=[1.0] * 3,
        semantic_on=True,
        panoptic_on=True,
        instance_on=True,
        test_topk_per_image=100,
        chunk_bytes=1 << 22,
        geometric_ensemble_alpha=0.4,
        geometric_ensemble_beta=0.8,
        ensemble_on_valid_mask=run == "vps_valid",
        allow_random_weights=True,
    ).eval()
    with torch.no_grad():
        model.void_embedding.weight[0] = row_of("void0")
        if two_sets:
            model.additional_void_embedding.weight[0] = row_of("void1")
    return model


def video() -> dict[str, Any]:
    frames = [torch.full((3, *SIDES), float(number)) for number in range(7)]
    height, width = recorded()["inputs"]["output"]
    return {"image": frames, "height": height, "width": width}


def runs(prefix: str) -> list[str]:
    names = recorded() if SHARED.is_dir() else {}
    return [name for name, run in names.items() if name.startswith(prefix) and isinstance(run, dict)]


@needs_shared
@pytest.mark.parametrize("run", [*runs("vps"), *runs("vis"), *runs("vss")])
def test_classes_of_frames_equal_the_recording(run):
    model, expected = recorded_model(run), recorded()[run]
    decoded = model.decode(torch.stack([torch.full((3, 96, 128), float(number)) for number in range(7)]))
    classes = model.vocabularies.test(model.device)
    with torch.no_grad():
        text = model._with_void(classes)
        log_probabilities = model.classify(decoded, classes)
    if "text" in expected:
        torch.testing.assert_close(text.embeddings, expected["text"], atol=1e-5, rtol=0)
    assert [len(set(rows.tolist())) for rows in text.rows_of_class] == expected["rows_per_class"]
    torch.testing.assert_close(log_probabilities, expected["frame_log_probabilities"], atol=1e-5, rtol=0)


@needs_shared
@pytest.mark.parametrize("run", runs("vps"))
def test_panoptic_equals_the_recording(run):
    [result] = recorded_model(run)([video()])
    assert result["segments_infos"] == recorded()[run]["segments"]
    assert torch.equal(result["pred_masks"], recorded()[run]["map"].int())
    assert (result["task"], result["image_size"]) == ("vps", (61, 77))


@needs_shared
def test_semantic_equals_the_recording():
    [result] = recorded_model("vss")([video()])
    assert torch.equal(result["pred_masks"], recorded()["vss"]["map"].long())


@needs_shared
@pytest.mark.parametrize("run", runs("vis"))
def test_instances_equal_the_recording(run):
    [result] = recorded_model(run)([video()])
    expected = recorded()[run]

    def rows(scores: list[float], labels: list[int], masks: Any) -> list[tuple[int, float, bytes]]:
        return sorted((c, round(s, 4), np.asarray(m).tobytes()) for s, c, m in zip(scores, labels, masks, strict=True))

    packed = [np.packbits(mask.numpy(), axis=-1) for mask in result["pred_masks"]]
    ours = rows(result["pred_scores"], result["pred_labels"], packed)
    assert ours == rows(expected["scores"].tolist(), expected["labels"].tolist(), expected["masks"].numpy())


@needs_shared
@pytest.mark.parametrize("options", [{"window": None}, {"window": 1}, {"keep_masks": False}])
def test_windows_and_memory_do_not_change_results(options):
    model = recorded_model("vps", **options)
    [result] = model([video()])
    assert torch.equal(result["pred_masks"], recorded()["vps"]["map"].int())
    assert sum(model.backbone.calls) == (7 if options.get("keep_masks", True) else 14)


@needs_shared
def test_void_of_a_training_set_is_its_own():
    model = recorded_model("vps_two_train_sets_max")
    assert len(model._void_rows()) == 2
    model._asked_name = "extra"
    torch.testing.assert_close(model._void_rows()[0], torch.nn.functional.normalize(row_of("void1"), dim=0))


def tiny_minvis(**overrides: Any) -> MinVIS_OV:
    return tiny_model(MODEL__META_ARCHITECTURE="MinVIS_OV", DATASETS__TRAIN=("coco_panoptic_video_ov",), **overrides)  # type: ignore[return-value]


@pytest.mark.parametrize("task", ["vps", "vis", "vss"])
def test_a_whole_network_gives_every_task(task):
    model = tiny_minvis(MODEL__MASK_FORMER__TEST__TASK=task, MODEL__MASK_FORMER__TEST__NUM_FRAME=9)
    frames = [torch.randint(0, 256, (3, 64, 80), generator=torch.Generator().manual_seed(n)) for n in range(2)]
    [result] = model([{"image": frames, "height": 32, "width": 40}])
    masks = result["pred_masks"][0] if task == "vis" else result["pred_masks"]
    assert (result["task"], tuple(masks.shape)) == (task, (2, 32, 40))


def test_its_state_dict_is_that_of_fc_clip():
    assert tiny_minvis().state_dict().keys() == tiny_model().state_dict().keys()


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_published_files_are_read(file: Path):
    cfg = load_inference_cfg(file, random_weights=True)
    assert (cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.MIN_SIZE_TEST) == ("MinVIS_OV", 480)
    assert cfg.MODEL.MASK_FORMER.TEST.TASK in ("vps", "vis", "vss")


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match='TASK is "panoptic"; choose one of vps, vis, vss'):
        VideoOptions(task="panoptic")
    with pytest.raises(ValueError, match="at least one frame"):
        tiny_minvis()([{"image": []}])
    with pytest.raises(ValueError, match='VOID_MERGE_MODE is "first"'):
        tiny_minvis(MODEL__FC_CLIP__VOID_MERGE_MODE="first")
