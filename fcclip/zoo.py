"""Where a trained model is found: a checkpoint and its configuration, by path or by the name of a published one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcclip.files.folders import cache_directory, configs_folder

WEIGHT_SUFFIXES = (".pth", ".safetensors", ".pt", ".bin")
CONFIG_SUFFIXES = (".yaml", ".yml")
CONFIGS = configs_folder() / "coco" / "panoptic-segmentation" / "fcclip"

# The checkpoints of the FC-CLIP release, all trained on COCO panoptic -> their configurations.
PUBLISHED = {
    "fcclip_convnext_large": "fcclip_convnext_large_eval_ade20k.yaml",
    "fcclip_r50": "fcclip_convnext_large_eval_ade20k_r50.yaml",
    "fcclip_r101": "fcclip_convnext_large_eval_ade20k_r101.yaml",
    "fcclip_r50x4": "fcclip_convnext_large_eval_ade20k_r50x4.yaml",
    "fcclip_r50x16": "fcclip_convnext_large_eval_ade20k_r50x16.yaml",
    "fcclip_r50x64": "fcclip_convnext_large_eval_ade20k_r50x64.yaml",
}


# Its folders are models that come with this package.
SHIPPED = Path(__file__).resolve().parent / "assets"


@dataclass(frozen=True)
class Pretrained:
    """The two files of a trained model."""

    config: Path
    weights: Path


def find_pretrained(name_or_path: str | Path) -> Pretrained:
    """The files of a trained model.

    Args:
        name_or_path: a checkpoint with its configuration beside it (the file of the same name, else the only one), a
            folder with one checkpoint and one configuration, the name of a folder of `SHIPPED`, or a key of
            `PUBLISHED`, whose checkpoint lies in the folder ``weights`` of the cache folder.

    Raises:
        FileNotFoundError: a file is missing; the message says which one and where to put it.
        ValueError: nothing has that name, or a folder holds several checkpoints.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        weights = _only(path, WEIGHT_SUFFIXES, "checkpoint")
        return Pretrained(_config_beside(weights), weights)
    if path.is_file():
        return Pretrained(_config_beside(path), path)
    if str(name_or_path) in _shipped_names():
        return find_pretrained(SHIPPED / name_or_path)
    if str(name_or_path) in PUBLISHED:
        return _published(str(name_or_path))
    if path.suffix in WEIGHT_SUFFIXES or len(path.parts) > 1:
        raise FileNotFoundError(f"there is no checkpoint {path}; check the path")
    raise ValueError(
        f'there is no model "{name_or_path}"; give a path, or one of {", ".join([*_shipped_names(), *PUBLISHED])}'
    )


def _shipped_names() -> list[str]:
    return sorted(folder.name for folder in SHIPPED.glob("*/"))


def _published(name: str) -> Pretrained:
    folder = cache_directory() / "weights"
    candidates = [folder / f"{name}{suffix}" for suffix in WEIGHT_SUFFIXES]
    weights = next((candidate for candidate in candidates if candidate.is_file()), None)
    if weights is None:
        raise FileNotFoundError(
            f"the checkpoint of {name} is not here: download it from the model zoo of the FC-CLIP release "
            f"(github.com/bytedance/fc-clip) and save it as {candidates[0]}"
        )
    return Pretrained(CONFIGS / PUBLISHED[name], weights)


def _config_beside(weights: Path) -> Path:
    for suffix in CONFIG_SUFFIXES:
        namesake = weights.with_suffix(suffix)
        if namesake.is_file():
            return namesake
    return _only(weights.parent, CONFIG_SUFFIXES, f"configuration of {weights.name}")


def _only(folder: Path, suffixes: tuple[str, ...], what: str) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    if not files:
        raise FileNotFoundError(f"folder {folder} lacks the {what}: a file that ends in {' or '.join(suffixes)}")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"folder {folder} has several files that could be the {what}: {names}; name the checkpoint")
    return files[0]
