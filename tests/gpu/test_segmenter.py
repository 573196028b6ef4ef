"""The shipped models find the same on the GPU, with every option, in threads and in videos."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from fcclip import Segmenter
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import render_clip
from fcclip.data.panoshapes.dataset import SPLITS
from fcclip.segmentation import Segmentation

SCENES = [SPLITS["val_all"].scene(index).image for index in range(4)]
WORDS = [entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in CLASSES]
OPTIONS: dict[str, tuple[str, ...]] = {
    "bfloat16": ("MODEL.FC_CLIP.INFERENCE_DTYPE", "bfloat16"),
    "float16": ("MODEL.FC_CLIP.INFERENCE_DTYPE", "float16"),
    "channels last": ("MODEL.FC_CLIP.CHANNELS_LAST", "True"),
    "compile": ("MODEL.FC_CLIP.COMPILE", "True"),
    "graphs": ("MODEL.FC_CLIP.CUDA_GRAPHS", "True"),
}


def segmenter_on(device: str | None, name: str = "panoshapes", **choices: Any) -> Segmenter:
    made = Segmenter.from_pretrained(name, device=device, **choices)
    made.set_vocabulary(WORDS)
    return made


@pytest.fixture(scope="module")
def on_cpu() -> list[Segmentation]:
    return segmenter_on("cpu").predict(SCENES)


def agreement(ones: list[Segmentation], others: list[Segmentation]) -> float:
    """The share of pixels with the same class, of the worse of semantic and panoptic results."""
    pairs = list(zip(ones, others, strict=True))
    shares = [np.mean([one.semantic == other.semantic for one, other in pairs])]
    if ones[0].panoptic is not None:
        shares.append(np.mean([names_of_pixels(one) == names_of_pixels(other) for one, other in pairs]))
    return float(min(shares))


def names_of_pixels(result: Segmentation) -> np.ndarray:
    names = {segment.id: segment.name for segment in result.segments}
    assert result.panoptic is not None
    ids, places = np.unique(result.panoptic, return_inverse=True)
    return np.array([names.get(int(number), "") for number in ids])[places]


@pytest.mark.parametrize("name", ["panoshapes", "panoshapes_mask_adapter", "zegclip_small", "cascade_clip_small"])
def test_the_gpu_is_the_default_and_finds_the_same(name: str) -> None:
    gpu, cpu = segmenter_on(None, name), segmenter_on("cpu", name)
    assert gpu.model.device.type == "cuda"
    assert agreement(gpu.predict(SCENES), cpu.predict(SCENES)) > 0.999


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option: str, on_cpu: list[Segmentation]) -> None:
    is_half = option in ("bfloat16", "float16")
    assert agreement(segmenter_on("cuda", opts=OPTIONS[option]).predict(SCENES), on_cpu) > (0.97 if is_half else 0.999)


def test_fast_on_a_gpu_is_bfloat16(on_cpu: list[Segmentation]) -> None:
    fast = segmenter_on("cuda", fast=True)
    assert next(fast.model.backbone.clip_model.visual.parameters()).dtype == torch.bfloat16
    assert agreement(fast.predict(SCENES), on_cpu) > 0.97


def test_batches_and_encoded_pictures(on_cpu: list[Segmentation]) -> None:
    gpu = segmenter_on("cuda")
    assert agreement(gpu.predict(SCENES, batch_size=4), on_cpu) > 0.999
    assert agreement([gpu.predict(gpu.encode(scene)) for scene in SCENES], on_cpu) > 0.999


def test_scores_of_segments_are_the_same(on_cpu: list[Segmentation]) -> None:
    for one, other in zip(segmenter_on("cuda").predict(SCENES), on_cpu, strict=True):
        scores, expected = ([segment.score for segment in result.segments] for result in (one, other))
        assert scores == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("option", [None, "graphs"])
def test_threads_with_words_of_their_own(option: str | None) -> None:
    gpu = segmenter_on("cuda", opts=OPTIONS[option] if option else ())
    words = [WORDS[start::4] for start in range(4)] * 3
    alone = [gpu.predict(SCENES[0], vocabulary=some) for some in words]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda some: gpu.predict(SCENES[0], vocabulary=some), words))
    assert agreement(together, alone) > 0.999


def test_objects_of_a_video_keep_their_ids() -> None:
    frames = [scene.image for scene in render_clip(np.random.default_rng(3), 128, 128, 8)]
    tracks = []
    for device in ("cuda", "cpu"):
        results = list(segmenter_on(device).track(frames, look_ahead=2))
        tracks.append([sorted((segment.track, segment.name) for segment in result.segments) for result in results])
    assert tracks[0] == tracks[1]
    assert tracks[0][-1]


def test_memory_does_not_grow() -> None:
    gpu = segmenter_on("cuda")
    used = []
    for _ in range(3):
        gpu.predict(SCENES * 3)
        used.append(torch.cuda.memory_allocated())
    assert used[2] == used[1]
