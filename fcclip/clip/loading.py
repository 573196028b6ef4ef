"""Build a CLIP of open_clip and load its weights from a tag, a local file or a hub repository."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from detectron2.utils import comm
from torch import nn

from fcclip.clip.published_weights import FILE_SUFFIXES, HUB_WEIGHTS, clip_by_hand, is_on_this_machine, saved_file
from fcclip.clip.stem import MODELS_WITH_STEM, add_stem
from fcclip.files.checkpoints import CLIP_PREFIX, is_torchscript_archive, read_state_dict
from fcclip.files.hub import patient_only_with_network

HUB_PREFIX = "hf-hub:"
OPENAI_TAG = "openai"
SHIPPED_DESCRIPTIONS = Path(__file__).parent / "configs"
# Entries of OpenAI's archives that describe the model and are not weights.
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")
RANDOM_WARNING = "No pretrained weights loaded"  # how open_clip begins it
MOST_WORDS, LONGEST_WORD = 50_000, 64  # that a tokenizer remembers


@dataclass(frozen=True)
class LoadedClip:
    """A CLIP model, its tokenizer, and where its weights came from (None: they are random)."""

    model: nn.Module
    tokenizer: Any
    source: str | None


def load_clip(name: str, pretrained: str) -> LoadedClip:
    """Build a CLIP and load its weights.

    Args:
        name: open_clip's name of the model, the name of a description in the package (`fcclip/clip/configs`), or the
            path of a description (`.json`).
        pretrained: an open_clip tag, a local file of a CLIP or of a model that has one (.pt, .pth, .bin, .safetensors),
            `hf-hub:ORG/NAME`, or "" for random weights.

    Raises:
        ValueError: if the name or tag is unknown, or a file does not fit the model.
        FileNotFoundError: if a local file is missing.
        RuntimeError: if the weights cannot be downloaded; the message names the file to fetch and where to put it.
    """
    name = _register_description(name)
    local_rank = comm.get_local_rank()
    if local_rank != 0:  # the first process of a machine downloads, the others find the file
        comm.synchronize()
    try:
        with nullcontext() if _is_here(pretrained) else patient_only_with_network():
            model, source = _build(name, pretrained)
    finally:
        if local_rank == 0:
            comm.synchronize()
    return LoadedClip(model, _get_tokenizer(name), source)


class _WordMemory(dict[str, str]):
    """The words that a tokenizer has taken apart: full, it takes no more, as strangers may type new ones for ever."""

    def __setitem__(self, word: str, pieces: str) -> None:
        if len(self) < MOST_WORDS and len(word) <= LONGEST_WORD:
            super().__setitem__(word, pieces)


def _get_tokenizer(name: str) -> Any:
    """open_clip's tokenizer of a model; its own, where it is not of Hugging Face, would remember every word."""
    with _without_random_warning():
        tokenizer = open_clip.get_tokenizer(name)
    if isinstance(getattr(tokenizer, "cache", None), dict):
        tokenizer.cache = _WordMemory(tokenizer.cache)
    return tokenizer


def missing_clip(name: str, pretrained: str) -> str:
    """How a person gets the weights of a CLIP that has to be fetched; "" where there is none to fetch."""
    if _is_here(pretrained) or pretrained.startswith(HUB_PREFIX) or is_on_this_machine(name, pretrained):
        return ""
    return f"the weights of its frozen CLIP, {name}/{pretrained}, are not here either: {clip_by_hand(name, pretrained)}"


def _register_description(name: str) -> str:
    """Make the model of a description file, or of one shipped with this package, known to open_clip; its name."""
    shipped = SHIPPED_DESCRIPTIONS / f"{name}.json"
    if shipped.is_file():
        name = str(shipped)
    if not name.endswith(".json"):
        if name not in open_clip.list_models():
            raise ValueError(f'open_clip knows no model "{name}"; see open_clip.list_models(), or give a .json file')
        return name
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"there is no CLIP model description {path}")
    if path.stem not in open_clip.list_models():
        open_clip.add_model_config(path)
    return path.stem


def _is_here(pretrained: str) -> bool:
    """Whether weights are none or a file, so that nobody is asked for them."""
    return not pretrained or (not pretrained.startswith(HUB_PREFIX) and Path(pretrained).suffix in FILE_SUFFIXES)


def _build(name: str, pretrained: str) -> tuple[nn.Module, str | None]:
    if not pretrained:
        return _create(name), None
    if pretrained.startswith(HUB_PREFIX):
        return _build_from_hub(name, pretrained.removeprefix(HUB_PREFIX)), pretrained
    if _is_here(pretrained):
        return _build_from_file(name, Path(pretrained).expanduser()), pretrained
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags:
        raise ValueError(
            f'CLIP model "{name}" has no weights "{pretrained}"; give one of {", ".join(tags) or "(none)"}, '
            f"a local file or {HUB_PREFIX}ORG/NAME"
        )
    source, quick_gelu = f"{name}/{pretrained}", pretrained == OPENAI_TAG
    saved = saved_file(name, pretrained)
    if saved is not None:
        return _build_from_file(name, saved, quick_gelu), source
    try:
        model = open_clip.create_model(name, pretrained=pretrained, force_quick_gelu=quick_gelu)
    except Exception as error:  # whatever the download's libraries raise: none of them share a base class
        raise RuntimeError(f"the CLIP weights {source} were not fetched; {clip_by_hand(name, pretrained)}") from error
    return model, source


def _create(name: str, **options: Any) -> nn.Module:
    """A model of random weights, for a file or checkpoint to replace; `WeightState` knows whether one did."""
    with _without_random_warning():
        model = open_clip.create_model(name, **options)
    if name in MODELS_WITH_STEM:
        add_stem(model)
    return model


@contextmanager
def _without_random_warning() -> Iterator[None]:
    """Keep open_clip from saying that a model has random weights, which it cannot know.

    It logs by functions of the module `logging`, which give the root logger a handler if it has none: then warnings of
    the whole program would look different from there on. A handler that does nothing, for the time being, prevents it.
    """
    root, nothing = logging.getLogger(), logging.NullHandler()

    def is_wanted(record: logging.LogRecord) -> bool:
        return RANDOM_WARNING not in record.getMessage()

    root.addHandler(nothing)
    root.addFilter(is_wanted)
    try:
        yield
    finally:
        root.removeFilter(is_wanted)
        root.removeHandler(nothing)


def _build_from_file(name: str, path: Path, quick_gelu: bool = False) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f"there is no CLIP weight file {path}; check MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS")
    from_openai = is_torchscript_archive(path)  # OpenAI's release, the only one in this format
    model = _create(name, force_quick_gelu=quick_gelu or from_openai)
    state = read_state_dict(path)
    if any(key.startswith(CLIP_PREFIX) for key in state):  # a whole model, whose CLIP is wanted
        state = {key.removeprefix(CLIP_PREFIX): state[key] for key in state if key.startswith(CLIP_PREFIX)}
    for key in OPENAI_EXTRAS:
        state.pop(key, None)
    expected = model.state_dict()
    wrong = [key for key in expected.keys() | state.keys() if _shape(expected, key) != _shape(state, key)]
    wrong = [key for key in wrong if not key.endswith(("attn_mask", "num_batches_tracked", "position_ids"))]
    if wrong:
        raise ValueError(f'{path} does not hold the CLIP model "{name}": {len(wrong)} tensors differ ({min(wrong)})')
    model.load_state_dict(state, strict=False)
    return model


def _shape(state: dict[str, Any], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _build_from_hub(name: str, repository: str) -> nn.Module:
    from huggingface_hub import hf_hub_download

    files = []
    for filename in ("open_clip_config.json", *HUB_WEIGHTS):
        try:
            files.append(Path(hf_hub_download(repository, filename)))
        except Exception:  # noqa: BLE001, S112 - a missing file, or no network: tried again with the next name
            continue
    weights = [path for path in files if path.name in HUB_WEIGHTS]
    if not weights:
        raise RuntimeError(
            f"cannot download {repository} from the Hugging Face hub; fetch {HUB_WEIGHTS[0]} of it on a machine with "
            "network and set MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS to that file"
        )
    description = json.loads(files[0].read_text()) if files[0].suffix == ".json" else {}
    quick_gelu = bool(description.get("model_cfg", {}).get("quick_gelu", False))
    return _build_from_file(name, weights[0], quick_gelu)
