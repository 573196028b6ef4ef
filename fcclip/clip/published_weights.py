"""Where the published weights of a CLIP lie on this machine, and how they get there without a network."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import open_clip
from huggingface_hub import constants, try_to_load_from_cache

from fcclip.files.folders import cache_directory

FILE_SUFFIXES = (".pt", ".bin", ".safetensors", ".pth")
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def saved_file(name: str, tag: str) -> Path | None:
    """The file that a person saved as `clip_by_hand` says, if there is one.

    Args:
        name, tag: of open_clip, such as "convnext_large_d_320" and "laion2b_s29b_b131k_ft_soup".
    """
    candidates = [_saved_stem(name, tag) + suffix for suffix in FILE_SUFFIXES]
    return next((path for path in map(Path, candidates) if path.is_file()), None)


def is_on_this_machine(name: str, tag: str) -> bool:
    """Whether the weights were saved by hand, or fetched by an earlier run."""
    hub, files = _hub_files(name, tag)
    cached = hub and any(isinstance(try_to_load_from_cache(hub, file), str) for file in files)
    return bool(cached) or saved_file(name, tag) is not None


def clip_by_hand(name: str, tag: str) -> str:
    """How a person gets the weights: "fetch them by hand from ADDRESS and save them as FILE"."""
    hub, files = _hub_files(name, tag)
    url = str((open_clip.get_pretrained_cfg(name, tag) or {}).get("url") or "")
    address = f"{constants.ENDPOINT}/{hub}/resolve/main/{files[0]}" if hub else url
    return f"fetch them by hand from {address} and save them as {_saved_stem(name, tag)}{PurePosixPath(address).suffix}"


def _saved_stem(name: str, tag: str) -> str:
    return str(cache_directory() / "weights" / "clip" / f"{name}-{tag}")


def _hub_files(name: str, tag: str) -> tuple[str, tuple[str, ...]]:
    """The repository of the weights on the Hugging Face hub, "" for none, and the files there that hold them."""
    place = str((open_clip.get_pretrained_cfg(name, tag) or {}).get("hf_hub") or "")
    hub, _, file = place.rpartition("/")  # "ORGANISATION/NAME/FILE"
    return hub, (file,) if file else HUB_WEIGHTS
