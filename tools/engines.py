"""Every way to run a model beside each other: PyTorch as published, ours, fast and compiled, and exported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from fcclip.config import fast_options, load_inference_cfg
from fcclip.export import Runtime
from fcclip.export.manifest import digest_of, read_manifest
from fcclip.export.quantize import quantize
from fcclip.export.runtime import IMAGE_GRAPH
from fcclip.export.write import ExportOptions, export_model
from fcclip.segmenter import Segmenter
from fcclip.speed.acceleration import accelerate
from fcclip.vocabulary import Vocabulary
from tools.published import as_published
from tools.timings import Timing

COMPILED = ("MODEL.FC_CLIP.COMPILE", "True")
PYTORCH: Mapping[str, tuple[str, ...]] = {
    "published": (),
    "pytorch": (),
    "pytorch fast": fast_options("cpu"),
    "pytorch compiled": COMPILED,
}
EXPORTED = {"onnxruntime": "", "onnxruntime int8": "dynamic"}
ENGINES = (*PYTORCH, *EXPORTED)
REPOSITORY = Path(__file__).resolve().parents[1]
OPEN_AND_SEGMENT = """
import sys, numpy
from fcclip.export import Runtime
from fcclip.files.process_memory import peak_bytes
Runtime(sys.argv[1], threads=int(sys.argv[3])).predict(numpy.load(sys.argv[2]))
print(peak_bytes())
"""

Found = tuple[np.ndarray, np.ndarray]
Run = Callable[[], Found]


@dataclass
class Engine:
    """One way to run the model.

    Attributes:
        run: gives mask logits and the semantic map of the picture.
        folder: of an exported one.
        timing, cpu: seconds of the clock, and of all processors together.
        found: what `run` gave first.
    """

    run: Run
    folder: Path | None = None
    timing: Timing = field(default_factory=Timing)
    cpu: Timing = field(default_factory=Timing)
    found: Found = field(init=False)

    def measure(self) -> None:
        """A turn that counts."""
        start, used = time.perf_counter(), time.process_time()
        self.run()
        self.timing.total.append(time.perf_counter() - start)
        self.cpu.total.append(time.process_time() - used)


def measure_engines(
    config: str, size: tuple[int, int], classes: int, queries: int, repeats: int, names: Sequence[str]
) -> None:
    """Run engines in turns on one picture, and print what they take and what differs.

    The weights are random and the same for all. A row has seconds, their ratio to the first engine, CPU seconds, their
    ratio, MB of the image graph, GB at most of a process that opens an exported model and segments one picture, the
    largest difference of a mask logit from that of the first engine, relative to the largest logit, and the share of
    pixels whose semantic label differs.
    """
    image = _picture(*size)
    vocabulary = Vocabulary.from_string(";".join(f"class {index}" for index in range(classes)))
    with TemporaryDirectory() as folder, patch.dict(os.environ, FCCLIP_CACHE=folder):  # names are encoded once
        builder = _Builder(config, image, vocabulary, queries, Path(folder))
        engines = {name: builder.build(name) for name in names}
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.found = engine.run()  # a turn that does not count
            print(f"{name}: first picture after {time.perf_counter() - start:.1f} s", flush=True)
        for _ in range(repeats):
            for engine in engines.values():
                engine.measure()
        picture = Path(folder) / "picture.npy"
        np.save(picture, image)
        _print_table(engines, {name: _peak(engine, picture) for name, engine in engines.items()})


@dataclass
class _Builder:
    """Builds engines of one picture."""

    config: str
    image: np.ndarray
    vocabulary: Vocabulary
    queries: int
    folder: Path
    exact: Segmenter | None = None
    exported: Path | None = None

    def build(self, name: str) -> Engine:
        if name in EXPORTED:
            folder = self._exported(EXPORTED[name])
            runtime = Runtime(folder, threads=torch.get_num_threads())
            return Engine(lambda: _segment(runtime, self.image), folder)
        segmenter = self._segmenter(PYTORCH[name])
        if name == "published":
            return Engine(lambda: _as_published(segmenter, self.image))
        return Engine(lambda: _segment(segmenter, self.image))

    def _segmenter(self, opts: Sequence[str]) -> Segmenter:
        if not opts and self.exact is not None:
            return self.exact
        cfg = self._cfg(opts)
        model = build_model(cfg)
        accelerate(model, cfg)
        node = cfg.INPUT
        segmenter = Segmenter(model, node.MIN_SIZE_TEST, node.MAX_SIZE_TEST, node.FORMAT, node.RESIZING_TEST)
        segmenter.set_vocabulary(self.vocabulary)
        if not opts:
            self.exact = segmenter
        return segmenter

    def _exported(self, int8: str) -> Path:
        if self.exported is None:
            options = ExportOptions(vocabulary=self.vocabulary)
            self.exported = export_model(self._cfg(()), self.folder / "float32", options)
        if not int8:
            return self.exported
        target = self.folder / int8
        shutil.copytree(self.exported, target, ignore=shutil.ignore_patterns(IMAGE_GRAPH))
        quantize(self.exported / IMAGE_GRAPH, target / IMAGE_GRAPH, int8)
        manifest = read_manifest(target)
        files = {**manifest.files, IMAGE_GRAPH: digest_of(target / IMAGE_GRAPH)}
        replace(manifest, precision=f"int8 {int8}", files=files).write(target)
        return target

    def _cfg(self, opts: Sequence[str]) -> CfgNode:
        height, width = self.image.shape[:2]
        settings = ["INPUT.MIN_SIZE_TEST", str(min(height, width)), "INPUT.MAX_SIZE_TEST", str(max(height, width))]
        settings += ["MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", str(self.queries)]
        settings += ["MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "False", *opts]
        torch.manual_seed(0)  # the weights are drawn when the model is built
        return load_inference_cfg(self.config, settings, device="cpu", random_weights=True)


def _as_published(segmenter: Segmenter, image: np.ndarray) -> Found:
    model: Any = segmenter.model
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()
    with torch.no_grad(), as_published(model):
        encoded = model.encode([{"image": tensor}])[0]
        scores = model.answer(encoded, model.vocabularies.test(model.device))["sem_seg"]
    return encoded.decoded.mask_logits[0].numpy(), scores.argmax(dim=0).numpy()


def _segment(segmenter: Segmenter | Runtime, image: np.ndarray) -> Found:
    encoded: Any = segmenter.encode(image)
    result = segmenter.predict(encoded)
    whole = encoded.encoded
    masks = whole["mask_logits"] if isinstance(whole, dict) else whole.decoded.mask_logits[0].float().numpy()
    assert result.semantic is not None  # the configuration has it on
    return masks, result.semantic


def _peak(engine: Engine, picture: Path) -> float:
    """GB at most of a process that does nothing but open the exported model and segment the picture; else NaN."""
    if engine.folder is None:
        return float("nan")
    command = [sys.executable, "-c", OPEN_AND_SEGMENT, str(engine.folder), str(picture), str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return int(done.stdout) / 1e9


def _print_table(engines: Mapping[str, Engine], peaks: Mapping[str, float]) -> None:
    first = next(iter(engines.values()))
    print(
        f"{'':20}{'seconds':>9}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'MB':>7}{'peak GB':>9}{'masks':>10}{'labels':>10}"
    )
    for name, engine in engines.items():
        masks = np.abs(engine.found[0] - first.found[0]).max() / np.abs(first.found[0]).max()
        labels = np.mean(engine.found[1] != first.found[1])
        size, peak = f"{'':7}", f"{'':9}"
        if engine.folder is not None:
            size = f"{(engine.folder / IMAGE_GRAPH).stat().st_size / 1e6:7.0f}"
            peak = f"{peaks[name]:9.2f}"
        clock = f"{engine.timing.median():9.2f}{engine.timing.ratio(first.timing):7.2f}"
        cpu = f"{engine.cpu.median():8.2f}{engine.cpu.ratio(first.cpu):7.2f}"
        print(f"{name:20}{clock}{cpu}{size}{peak}{masks:10.1e}{labels:10.1e}")


def _picture(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
