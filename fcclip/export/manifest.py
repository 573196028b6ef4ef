"""What an exported folder holds: `manifest.json`, and the check that the files are those that it tells of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fcclip.files.atomic import write_json

FORMAT, VERSION = "fcclip-export", 1
MANIFEST = "manifest.json"
OPSETS = (18, 19, 20, 21)
DEFORMABLE = ("grid-sample", "gather")  # how deformable attention samples
QUERY_SYSTEM = "FCCLIP"
PATCH_SYSTEMS = ("ZegCLIP", "CascadeCLIP")
AGAIN = "export the model again"


@dataclass(frozen=True)
class PixelFormat:
    """How a picture becomes the input `pixels` (B, 3, H, W) of the graph: float32, resized, normalised, then padded.

    Attributes:
        mean, std: per channel, in the 0..255 range: `(value - mean) / std`.
        channels: "RGB" or "BGR".
        shorter_side, longer_side: see `resized_shape`.
        resizing: "pillow" or "opencv".
        multiple: H and W are multiples of it; zeros are added right and below.
        least: the least H and W that the graph takes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    shorter_side: int
    longer_side: int
    resizing: str
    multiple: int
    least: int


@dataclass(frozen=True)
class TextFormat:
    """How names become the input `tokens` (n, length) of the text graph.

    Attributes:
        templates: the prompts, `{}` where the name goes.
        context_length: the most tokens, with those of start and end.
        trained: names of the classes of training.
        seen: names of those among them that count as seen.
    """

    templates: tuple[str, ...]
    context_length: int
    trained: tuple[tuple[str, ...], ...]
    seen: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class QuerySettings:
    """How masks of queries become results: values of the configuration, and constants of the code."""

    logit_scale: float  # of the trained classifier, as a factor
    clip_logit_scale: float  # of CLIP
    alpha: float  # exponent of CLIP on seen classes
    beta: float  # on others
    clip_trust: float  # COAT: how much less likely void is where CLIP is sure
    ensemble_on_valid_mask: bool
    void_epsilon: float
    lost_share: float
    named_weight: float
    trained_weight: float
    below_threshold: float
    panoptic: bool
    instances: bool
    semantic: bool
    object_mask_threshold: float
    overlap_threshold: float
    max_instances: int
    least_instance_score: float
    chunk_bytes: int


@dataclass(frozen=True)
class PatchSettings:
    """How class scores of windows become a label map.

    Attributes:
        crop_size, stride: of the window that slides, in pixels.
        softmax: scores are a softmax over the classes, else a sigmoid each.
        seen_penalty: is subtracted from the scores of seen classes.
        windows: that go through the graph together.
    """

    crop_size: int
    stride: int
    softmax: bool
    seen_penalty: float
    windows: int
    chunk_bytes: int


@dataclass(frozen=True)
class Manifest:
    """Everything about an exported model but its numbers.

    Attributes:
        model: its name, or the configuration file that it was made of.
        system: the meta-architecture.
        opset: of the graphs.
        deformable: how the graph samples, "grid-sample" or "gather".
        precision: of the image graph: "float32", "int8 dynamic" or "int8 calibrated".
        random_weights: parts of the model were never loaded; its results mean nothing.
        pixels, text, settings: see there.
        files: name -> SHA-256, of all other files of the folder.
    """

    model: str
    system: str
    opset: int
    deformable: str
    precision: str
    random_weights: bool
    pixels: PixelFormat
    text: TextFormat
    settings: QuerySettings | PatchSettings
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write `manifest.json`."""
        write_json(folder / MANIFEST, {"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        FileNotFoundError: there is no such folder, or it is no exported model.
        ValueError: the manifest is damaged, or of another version or opset.
    """
    path = Path(folder).expanduser() / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no exported model in {folder} ({MANIFEST} is missing); make one: fcclip export"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kind, version = data.pop("format"), data.pop("version")
        if (kind, version) != (FORMAT, VERSION):
            raise ValueError(f"{path} is {kind} version {version}, and this program reads version {VERSION}; {AGAIN}")
        settings = QuerySettings if data["system"] == QUERY_SYSTEM else PatchSettings
        text = {name: _frozen(value) for name, value in data["text"].items()}
        pixels = {name: _frozen(value) for name, value in data["pixels"].items()}
        manifest = Manifest(
            **{
                **data,
                "pixels": PixelFormat(**pixels),
                "text": TextFormat(**text),
                "settings": settings(**data["settings"]),
            }
        )
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); {AGAIN}") from None
    if manifest.opset not in OPSETS:
        raise ValueError(
            f"the graphs in {folder} are of ONNX opset {manifest.opset}, and this program runs {OPSETS[0]} to "
            f"{OPSETS[-1]}; {AGAIN} with --opset {OPSETS[0]}"
        )
    return manifest


def check_files(folder: Path, files: Mapping[str, str], names: Iterable[str]) -> None:
    """Make sure that files are there and are those of the manifest.

    Raises:
        FileNotFoundError: one is missing.
        ValueError: one is another, or the manifest does not tell of it.
    """
    for name in names:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} lacks {name}, which its manifest tells of; copy the whole folder, or {AGAIN}"
            )
        if digest_of(path) != files.get(name):
            raise ValueError(
                f"{path} is not the file that the manifest tells of (its SHA-256 differs); copy the folder again, or "
                f"{AGAIN}"
            )


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
