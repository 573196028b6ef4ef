"""Every way to run a model beside each other: PyTorch as published, ours, fast and compiled, and exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from fcclip.config import load_inference_cfg
from fcclip.export import Runtime
from fcclip.export.write import ExportOptions, export_model
from fcclip.segmenter import Segmenter
from fcclip.speed.acceleration import accelerate
from fcclip.vocabulary import Vocabulary
from tools.published import as_published
from tools.timings import Timing

PYTORCH: Mapping[str, tuple[str, ...]] = {
    "published": (),
    "pytorch": (),
    "pytorch fast": ("MODEL.FC_CLIP.INFERENCE_DTYPE", "bfloat16", "MODEL.FC_CLIP.CHANNELS_LAST", "True"),
    "pytorch compiled": ("MODEL.FC_CLIP.COMPILE", "True"),
}
EXPORTED = {"onnxruntime": "", "onnxruntime int8": "dynamic"}
ENGINES = (*PYTORCH, *EXPORTED)

Run = Callable[[], Any]


def measure_engines(
    config: str, size: tuple[int, int], classes: int, queries: int, repeats: int, names: Sequence[str]
) -> None:
    """Run engines in turns on one picture, and print seconds, ratio to the first, MB on disk and what differs.

    The weights are random and the same for all. What differs is the largest difference of a mask logit from that of
    the first engine, relative to the largest logit, and the share of pixels of the semantic map.
    """
    image = _picture(*size)
    vocabulary = Vocabulary.from_string(";".join(f"class {index}" for index in range(classes)))
    with TemporaryDirectory() as folder:
        runs: dict[str, Run] = {}
        bytes_on_disk: dict[str, int] = {}
        for name in names:
            cfg = _cfg(config, size, queries, PYTORCH.get(name, ()))
            torch.manual_seed(0)
            if name in PYTORCH:
                runs[name] = _pytorch(cfg, image, vocabulary, name == "published")
                continue
            place = export_model(cfg, Path(folder) / name, ExportOptions(int8=EXPORTED[name], vocabulary=vocabulary))
            bytes_on_disk[name] = (place / "image.onnx").stat().st_size
            runtime = Runtime(place, threads=torch.get_num_threads())
            runs[name] = lambda runtime=runtime: _segment(runtime, image)  # type: ignore[misc]
        found = {name: run() for name, run in runs.items()}  # a turn that does not count
        timings = {name: Timing() for name in names}
        for _ in range(repeats):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                timings[name].total.append(time.perf_counter() - start)
    first = names[0]
    print(f"{'':20}{'seconds':>9}{'ratio':>7}{'MB':>8}{'masks':>10}{'labels':>10}")
    for name in names:
        masks, labels = (
            np.abs(found[name][0] - found[first][0]).max() / np.abs(found[first][0]).max(),
            np.mean(found[name][1] != found[first][1]),
        )
        size_text = f"{bytes_on_disk[name] / 1e6:8.0f}" if name in bytes_on_disk else f"{'':8}"
        ratio = timings[name].ratio(timings[first])
        print(f"{name:20}{timings[name].median():9.2f}{ratio:7.2f}{size_text}{masks:10.1e}{labels:10.1e}")


def _cfg(config: str, size: tuple[int, int], queries: int, opts: Sequence[str]) -> CfgNode:
    settings = ["INPUT.MIN_SIZE_TEST", str(min(size)), "INPUT.MAX_SIZE_TEST", str(max(size))]
    settings += ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", str(queries), "MODEL.FC_CLIP.TEXT_CACHE", "False"]
    settings += ["MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "False", *opts]
    return load_inference_cfg(config, settings, device="cpu", random_weights=True)


def _pytorch(cfg: CfgNode, image: np.ndarray, vocabulary: Vocabulary, is_published: bool) -> Run:
    model = build_model(cfg)
    accelerate(model, cfg)
    node = cfg.INPUT
    segmenter = Segmenter(model, node.MIN_SIZE_TEST, node.MAX_SIZE_TEST, node.FORMAT, node.RESIZING_TEST)
    segmenter.set_vocabulary(vocabulary)

    def run() -> tuple[np.ndarray, np.ndarray]:
        if not is_published:
            return _segment(segmenter, image)
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()
        with torch.no_grad(), as_published(model):
            encoded = model.encode([{"image": tensor}])[0]
            scores = model.answer(encoded, model.vocabularies.test(model.device))["sem_seg"]
        return encoded.decoded.mask_logits[0].numpy(), scores.argmax(dim=0).numpy()

    return run


def _segment(segmenter: Segmenter | Runtime, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded: Any = segmenter.encode(image)
    result = segmenter.predict(encoded)
    whole = encoded.encoded
    masks = whole["mask_logits"] if isinstance(whole, dict) else whole.decoded.mask_logits[0].float().numpy()
    assert result.semantic is not None  # the configuration has it on
    return masks, result.semantic


def _picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
