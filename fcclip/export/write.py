"""Write a model as a folder that runs without PyTorch: graphs, names, and a manifest that tells of them."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from fcclip.export import graphs
from fcclip.export.manifest import (
    DEFORMABLE,
    OPSETS,
    PATCH_SYSTEMS,
    QUERY_SYSTEM,
    Manifest,
    PatchSettings,
    PixelFormat,
    QuerySettings,
    TextFormat,
    digest_of,
)
from fcclip.export.quantize import MODES, quantize
from fcclip.export.runtime import IMAGE_GRAPH, MERGES_FILE, SCORE_GRAPH, TEXT_GRAPH, VOCABULARY_FILE, normalise
from fcclip.export.systems import padded_batch
from fcclip.export.tokenizer import Tokenizer
from fcclip.files.atomic import atomic_folder
from fcclip.files.images import read_image
from fcclip.inference.semantic import BELOW_THRESHOLD
from fcclip.inference.sliding import WINDOWS_AT_A_TIME
from fcclip.meta_arch.base import OpenVocabularyModel
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.vocabularies import NAMED_WEIGHT, TRAINED_WEIGHT
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.modeling.classification import LOST_SHARE, MAX_LOGIT_SCALE, VOID_EPSILON
from fcclip.vocabulary import Vocabulary
from fcclip.weights import load_weights

NEEDED = ("onnx", "onnxscript")
# That of 2.6 fails on axes that stay free, for all our models.
OLDEST_EXPORTER = (2, 9)
EXPORTER_WORKS = tuple(int(number) for number in torch.__version__.split(".")[:2]) >= OLDEST_EXPORTER
LEAST_INSTANCE_SCORE = 0.05  # as the Segmenter's


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen.

    Attributes:
        opset: of the graphs. GridSample of 18 and 19 is what onnxruntime has fast kernels for.
        deformable: "grid-sample", or "gather" for engines that have no good GridSample.
        int8: "dynamic" or "calibrated": the image tower multiplies in 8 bits (`quantize`); "": in float32.
        images: pictures to calibrate with.
        vocabulary: what the runtime looks for unless told otherwise; None: the classes of the configuration's dataset.
        name: of the model.
    """

    opset: int = OPSETS[0]
    deformable: str = DEFORMABLE[0]
    int8: str = ""
    images: Sequence[Path] = ()
    vocabulary: Vocabulary | None = None
    name: str = ""


def export_model(cfg: CfgNode, folder: str | Path, options: ExportOptions | None = None) -> Path:
    """Build the model of a configuration, load its weights, and write it.

    Args:
        cfg: from `load_inference_cfg`; the model computes on the CPU.
        folder: appears whole or not at all.
        options: see there.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: a package of the extra `export` is missing.
        ValueError: the model is of a kind that cannot be exported, or an option is no choice.
        RuntimeError: weights were not loaded, or PyTorch is too old to export.
        OutputError: something is at `folder` already.
    """
    options = options or ExportOptions()
    check_can_export(cfg, options)
    with atomic_folder(folder) as scratch:
        model = build_model(cfg)
        if cfg.MODEL.WEIGHTS:
            load_weights(model, cfg.MODEL.WEIGHTS)
        model.weights.check(training=False)
        model.eval()
        _write_text(model, scratch, options)
        settings = _write_graphs(model, scratch, options)
        pixels = _pixel_format(model, cfg)
        if options.int8:
            _quantize(scratch / IMAGE_GRAPH, pixels, options)
        manifest = Manifest(
            model=options.name,
            system=cfg.MODEL.META_ARCHITECTURE,
            opset=options.opset,
            deformable=options.deformable,
            precision=f"int8 {options.int8}" if options.int8 else "float32",
            random_weights=model.uses_random_weights,
            pixels=pixels,
            text=_text_format(model),
            settings=settings,
            files={path.name: digest_of(path) for path in sorted(scratch.iterdir())},
        )
        manifest.write(scratch)
    return Path(folder)


def check_can_export(cfg: CfgNode, options: ExportOptions) -> None:
    """Refuse what cannot be exported, before anything is built; errors as of `export_model`."""
    if options.int8 not in ("", *MODES):
        raise ValueError(f'8 bits are {" or ".join(MODES)}, not "{options.int8}"')
    if options.int8 == "calibrated" and not options.images:
        raise ValueError("calibrating needs pictures like those that the model will see; give a folder with --images")
    if options.int8 and cfg.MODEL.META_ARCHITECTURE != QUERY_SYSTEM:
        raise ValueError(f"8 bits were tried with {QUERY_SYSTEM} alone; export this model without --int8")
    if options.opset not in OPSETS:
        raise ValueError(f"the opset is one of {', '.join(map(str, OPSETS))}, not {options.opset}")
    if options.deformable not in DEFORMABLE:
        raise ValueError(f'deformable attention is exported as {" or ".join(DEFORMABLE)}, not "{options.deformable}"')
    system, test = cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.MASK_FORMER.TEST
    if system not in (QUERY_SYSTEM, *PATCH_SYSTEMS):
        raise ValueError(
            f"{system} cannot be exported, as its image path depends on more than the image; "
            f"export {', '.join((QUERY_SYSTEM, *PATCH_SYSTEMS))}"
        )
    if system == QUERY_SYSTEM and cfg.MODEL.MASK_ADAPTER.NAME:
        raise ValueError("a model with a Mask-Adapter cannot be exported; export one without MODEL.MASK_ADAPTER.NAME")
    resizes_masks = test.PANOPTIC_ON or test.INSTANCE_ON or test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE
    if system == QUERY_SYSTEM and not resizes_masks:
        raise ValueError(
            "an exported model resizes masks, not class scores; set "
            "MODEL.MASK_FORMER.TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE to True"
        )
    _check_packages()


def _check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'exporting needs {" and ".join(missing)}: pip install "fcclip[export]"')
    if not EXPORTER_WORKS:
        raise RuntimeError(
            f"exporting needs PyTorch {'.'.join(map(str, OLDEST_EXPORTER))} or newer, and this is {torch.__version__}; "
            "update it, or export elsewhere: an exported folder needs no PyTorch"
        )


def _write_graphs(model: OpenVocabularyModel, folder: Path, options: ExportOptions) -> QuerySettings | PatchSettings:
    if isinstance(model, FCCLIP):
        graphs.write_query_graph(model, folder / IMAGE_GRAPH, options.opset, options.deformable)
        return _query_settings(model)
    if not isinstance(model, ZeroShotModel):
        raise ValueError(f"{type(model).__name__} cannot be exported")
    graphs.write_patch_graphs(model, folder / IMAGE_GRAPH, folder / SCORE_GRAPH, options.opset)
    return PatchSettings(
        crop_size=model.crop_size,
        stride=model.stride,
        softmax=model.mutually_exclusive,
        seen_penalty=model.seen_penalty,
        windows=WINDOWS_AT_A_TIME,
        chunk_bytes=model.chunk_bytes,
    )


def _quantize(graph: Path, pixels: PixelFormat, options: ExportOptions) -> None:
    """Put 8 bits in place of the graph's float32."""
    full = graph.with_name("float32.onnx")
    graph.rename(full)
    pictures = (normalise(read_image(path), pixels) for path in options.images)
    inputs = ({"pixels": padded_batch([picture], pixels.multiple)} for picture in pictures)
    quantize(full, graph, options.int8, inputs)
    full.unlink()


def _query_settings(model: FCCLIP) -> QuerySettings:
    def factor(logit_scale: torch.Tensor) -> float:
        return logit_scale.detach().exp().clamp(max=MAX_LOGIT_SCALE).item()

    return QuerySettings(
        logit_scale=factor(model.sem_seg_head.predictor.logit_scale),
        clip_logit_scale=factor(model.backbone.clip_model.logit_scale),
        alpha=model.geometric_ensemble_alpha,
        beta=model.geometric_ensemble_beta,
        clip_trust=model.clip_trust_weight,
        ensemble_on_valid_mask=model.ensemble_on_valid_mask,
        void_epsilon=VOID_EPSILON,
        lost_share=LOST_SHARE,
        named_weight=NAMED_WEIGHT,
        trained_weight=TRAINED_WEIGHT,
        below_threshold=BELOW_THRESHOLD,
        panoptic=model.panoptic_on,
        instances=model.instance_on,
        semantic=model.semantic_on,
        object_mask_threshold=model.object_mask_threshold,
        overlap_threshold=model.overlap_threshold,
        max_instances=model.test_topk_per_image,
        least_instance_score=LEAST_INSTANCE_SCORE,
        chunk_bytes=model.chunk_bytes,
    )


def _pixel_format(model: OpenVocabularyModel, cfg: CfgNode) -> PixelFormat:
    is_query = isinstance(model, FCCLIP)
    multiple = max(model.size_divisibility, 1)
    return PixelFormat(
        mean=tuple(cfg.MODEL.PIXEL_MEAN),
        std=tuple(cfg.MODEL.PIXEL_STD),
        channels=cfg.INPUT.FORMAT,
        shorter_side=cfg.INPUT.MIN_SIZE_TEST,
        longer_side=cfg.INPUT.MAX_SIZE_TEST,
        resizing=cfg.INPUT.RESIZING_TEST,
        multiple=int(np.lcm(multiple, graphs.STRIDE)) if is_query else multiple,
        least=graphs.LEAST if is_query else graphs.LEAST_WINDOW,
    )


def _text_format(model: OpenVocabularyModel) -> TextFormat:
    trained, seen = model.vocabularies.train_vocabulary, model.vocabularies.seen_vocabulary
    return TextFormat(
        templates=model.vocabularies.templates,
        context_length=model.backbone.tokenizer.context_length,
        trained=tuple(category.names for category in trained.categories),
        seen=tuple(category.names for category in seen.categories),
    )


def _write_text(model: OpenVocabularyModel, folder: Path, options: ExportOptions) -> None:
    """Write names with their rows, the text graph, and the tokenizer's merges."""
    vocabulary = options.vocabulary or model.vocabularies.test_vocabulary
    templates = model.vocabularies.templates
    tokenizer = model.backbone.tokenizer
    _write_merges(tokenizer, folder / MERGES_FILE, [templates[0].format(name) for name in vocabulary.names])
    arrays: dict[str, Any] = {
        "names": np.array(vocabulary.names),
        "rows": model.vocabularies.embed(vocabulary.names).numpy(),
        "class_of_name": np.array(vocabulary.class_of_name),
        "is_thing": np.array([category.is_thing for category in vocabulary.categories]),
        "templates_digest": np.array(hashlib.sha256("\n".join(templates).encode()).hexdigest()),
        "trained_tokens": model.backbone.knows_tokens(torch.arange(tokenizer.vocab_size)).numpy(),
    }
    if isinstance(model, FCCLIP):
        arrays["void"] = F.normalize(model.void_embedding.weight.detach(), dim=-1).numpy()
    np.savez(folder / VOCABULARY_FILE, **arrays)
    graphs.write_text_graph(model.backbone.clip_model, tokenizer.context_length, folder / TEXT_GRAPH, options.opset)


def _write_merges(tokenizer: Any, path: Path, prompts: Sequence[str]) -> None:
    """Write the byte pairs, and make sure that they tokenize as the CLIP's own tokenizer does.

    Raises:
        ValueError: they do not.
    """
    ranks = getattr(tokenizer, "bpe_ranks", None)
    if ranks is not None:
        path.write_text("".join(f"{first} {second}\n" for first, second in ranks), encoding="utf-8")  # in their order
        own = Tokenizer.read(path, tokenizer.context_length)
        if np.array_equal(own(prompts), tokenizer(list(prompts)).numpy()):
            return
    raise ValueError(
        f"the tokenizer of this CLIP ({type(tokenizer).__name__}) is not CLIP's own, the only one that can be exported"
    )
