"""The graphs of a model, traced by `torch.export` and written by PyTorch's ONNX exporter; no class name is in them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from fcclip.clip.convnext_blocks import folded_scales
from fcclip.clip.patches import PatchFeatures
from fcclip.clip.text_tower import encode_trimmed
from fcclip.export.operators import translations
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.modeling.deformable import MSDeformAttn

STRIDE = 32  # of the coarsest features of FC-CLIP
LEAST, MOST = 64, 8192  # pixels per side that its graph takes
LEAST_WINDOW, MOST_WINDOW = 32, 4096  # that the others' take
MOST_TOKENS_TRACED = 12


class QueryGraph(nn.Module):
    """FC-CLIP's `decode`: normalised pixels -> masks and their two embeddings."""

    outputs = ("mask_logits", "mask_embeddings", "clip_embeddings", "on_features")

    def __init__(self, model: FCCLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        decoded = self.model.decode(pixels)
        return decoded.mask_logits, decoded.mask_embeddings, decoded.clip_embeddings, decoded.on_features


class PatchGraph(nn.Module):
    """`decode` of a zero-shot system: normalised pixels -> the image and its patches, of each block that is used."""

    def __init__(self, model: ZeroShotModel, blocks: Sequence[int]) -> None:
        super().__init__()
        self.model, self.blocks = model, tuple(blocks)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        decoded = self.model.decode(pixels)
        return (decoded.image, *(decoded.patches[block] for block in self.blocks))


class ScoreGraph(nn.Module):
    """`classify` of a zero-shot system: what was decoded and rows of names -> logits of every row at every patch."""

    def __init__(self, model: ZeroShotModel, blocks: Sequence[int]) -> None:
        super().__init__()
        self.model, self.blocks = model, tuple(blocks)

    def forward(self, text: Tensor, image: Tensor, patches: tuple[Tensor, ...]) -> Tensor:
        decoded = PatchFeatures(dict(zip(self.blocks, patches, strict=True)), image)
        return self.model.classify(decoded, text)


class TextGraph(nn.Module):
    """CLIP's text tower: tokens -> embeddings, not normalised."""

    def __init__(self, clip_model: nn.Module) -> None:
        super().__init__()
        self.clip_model = clip_model

    def forward(self, tokens: Tensor) -> Tensor:
        return encode_trimmed(self.clip_model, tokens)


def write_query_graph(model: FCCLIP, path: Path, opset: int, deformable: str) -> None:
    """Write FC-CLIP's graph; batch, height and width stay free.

    Args:
        deformable: how it samples, "grid-sample" or "gather".
    """
    pixels = torch.randn(2, 3, 3 * STRIDE, 5 * STRIDE)
    height, width = (Dim(name, min=LEAST // STRIDE, max=MOST // STRIDE) for name in ("rows", "columns"))
    free = {0: Dim("batch", min=1), 2: STRIDE * height, 3: STRIDE * width}
    with sampled_by(model, deformable), folded_scales(model):
        _write(QueryGraph(model), (pixels,), (free,), ["pixels"], QueryGraph.outputs, path, opset)


def write_patch_graphs(model: ZeroShotModel, image_path: Path, score_path: Path, opset: int) -> None:
    """Write the two graphs of a zero-shot system; batch, height, width and the number of names stay free."""
    pixels = torch.randn(2, 3, 6 * 16, 7 * 16)
    with torch.no_grad():
        decoded: PatchFeatures = model.decode(pixels)
    blocks = sorted(decoded.patches)
    names = ["image", *(f"patches_{block}" for block in blocks)]
    sides = {axis: Dim(name, min=LEAST_WINDOW, max=MOST_WINDOW) for axis, name in ((2, "height"), (3, "width"))}
    batch = Dim("batch", min=1)
    _write(PatchGraph(model, blocks), (pixels,), ({0: batch, **sides},), ["pixels"], names, image_path, opset)
    text = torch.randn(7, decoded.image.shape[1])
    grid = {0: batch, 2: Dim("rows", min=2), 3: Dim("columns", min=2)}
    tensors = (text, decoded.image, tuple(decoded.patches[block] for block in blocks))
    free = ({0: Dim("names", min=1)}, {0: batch}, tuple(grid for _ in blocks))
    _write(ScoreGraph(model, blocks), tensors, free, ["text", *names], ["logits"], score_path, opset)


def write_text_graph(clip_model: nn.Module, context_length: int, path: Path, opset: int) -> None:
    """Write the text tower's graph; the number of prompts and their length stay free."""
    tokens = torch.ones(3, MOST_TOKENS_TRACED, dtype=torch.int64)
    tokens[:, -1] = 2  # an end
    free = {
        0: Dim("prompts", min=1),
        1: Dim("length", min=2, max=context_length - 1),
    }  # names that need all are refused
    _write(TextGraph(clip_model), (tokens,), (free,), ["tokens"], ["embeddings"], path, opset)


@contextmanager
def sampled_by(model: nn.Module, backend: str) -> Iterator[None]:
    """Within, deformable attention samples as told."""
    layers = [module for module in model.modules() if isinstance(module, MSDeformAttn)]
    before = [layer.backend for layer in layers]
    for layer in layers:
        layer.backend = backend
    try:
        yield
    finally:
        for layer, choice in zip(layers, before, strict=True):
            layer.backend = choice


def _write(
    module: nn.Module,
    tensors: tuple[Tensor | tuple[Tensor, ...], ...],
    free: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    opset: int,
) -> None:
    with torch.no_grad(), _quiet():
        traced = torch.export.export(module.eval(), tensors, dynamic_shapes=free, strict=False)
        names: dict[str, Any] = {"input_names": list(inputs), "output_names": list(outputs)}
        names["custom_translation_table"] = translations()
        program = torch.onnx.export(traced, dynamo=True, opset_version=opset, verbose=False, **names)
        assert program is not None  # only without `dynamo`
        program.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what its users cannot change."""
    logger = logging.getLogger("onnxscript")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
