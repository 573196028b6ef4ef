"""Models that have a name: where their checkpoints come from, their configurations, licences and published figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fcclip.files.download import NotFetchedError, download
from fcclip.files.folders import cache_directory, configs_folder
from fcclip.files.schemes import register_scheme
from fcclip.files.sources import Expected, Source, read_source

WEIGHT_SUFFIXES = (".pth", ".safetensors", ".pt", ".bin")
CONFIG_SUFFIXES = (".yaml", ".yml")
ZOO_PREFIX = "zoo:"  # MODEL.WEIGHTS "zoo:NAME"
LACKS_CLIP = "FC-CLIP"  # the system whose checkpoints were published without the CLIP

ASSETS = Path(__file__).resolve().parent / "assets"
SHIPPED = ASSETS  # its folders are models that come with this package


@dataclass(frozen=True)
class Pretrained:
    """The two files of a trained model.

    Examples:
        >>> Pretrained(Path("mine.yaml"), Path("mine.pth")).weights.name
        'mine.pth'
    """

    config: Path
    weights: Path


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint that its authors published; an entry of `assets/zoo.json`.

    Attributes:
        name: how it is asked for.
        system: FC-CLIP or one of its successors, ZegCLIP or Cascade-CLIP.
        clip: the CLIP that it is built on.
        trained_on: dataset.
        config: its configuration, below `configs_folder()`.
        licence: of the checkpoint, as its authors state it.
        page: where its authors present it.
        sources: where the file is, in order of preference.
        expected: what is known of the file.
        published: dataset -> metric -> value, as the authors publish it.
        is_converted: the file is in mmsegmentation's layout, and is converted to that of this package once.

    Examples:
        >>> model = published_models()["fcclip_convnext_large"]
        >>> model.clip, model.licence, model.published["ADE20K"]["PQ"]
        ('ConvNeXt-L', 'Apache-2.0', 26.8)
    """

    name: str
    system: str
    clip: str
    trained_on: str
    config: str
    licence: str
    page: str
    sources: tuple[Source, ...]
    expected: Expected
    published: Mapping[str, Mapping[str, float]]
    is_converted: bool = False

    @property
    def fetched_file(self) -> Path:
        """Where the file goes as it is published."""
        folder = weights_folder()
        return (folder / "published" if self.is_converted else folder) / f"{self.name}.pth"

    def find(self) -> Path | None:
        """The checkpoint in this package's layout, if it is here."""
        candidates = [weights_folder() / f"{self.name}{suffix}" for suffix in WEIGHT_SUFFIXES]
        return next((path for path in candidates if path.is_file()), None)

    def fetch(self) -> Path:
        """The checkpoint in this package's layout, fetched and converted if it is not here.

        Raises:
            DownloadError: it could not be fetched, or is not what it should be; says how to get it by hand, and with
                it the frozen CLIP that it needs.
        """
        found = self.find()
        if found is not None and found != self.fetched_file:
            return found
        if not self.fetched_file.is_file():
            tqdm.write(f"fetching {self.name} (licence: {self.licence}; {self.page})", file=sys.stderr)
        try:
            fetched = download(self.fetched_file, self.sources, self.expected)
        except NotFetchedError as error:
            raise NotFetchedError("; ".join([str(error), *self._missing_clip()])) from error
        return self._convert(fetched) if self.is_converted else fetched

    def _missing_clip(self) -> list[str]:
        """How to get the frozen CLIP, where the checkpoint lacks it and this machine too."""
        if self.system != LACKS_CLIP:
            return []
        from fcclip.clip.loading import missing_clip  # which take PyTorch's time
        from fcclip.config import load_cfg

        clip = load_cfg(configs_folder() / self.config).MODEL.FC_CLIP
        return list(filter(None, [missing_clip(clip.CLIP_MODEL_NAME, clip.CLIP_PRETRAINED_WEIGHTS)]))

    def _convert(self, fetched: Path) -> Path:
        from fcclip.mmseg.checkpoint import convert_checkpoint  # which needs what is above this module

        target = weights_folder() / f"{self.name}.pth"
        convert_checkpoint(fetched, target)
        return target


def weights_folder() -> Path:
    """Where the checkpoints of named models lie: the folder `weights` of the cache folder."""
    return cache_directory() / "weights"


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """The models of `assets/zoo.json` by name, the one for most uses first.

    Examples:
        >>> next(iter(published_models()))
        'fcclip_convnext_large'
    """
    entries = json.loads((ASSETS / "zoo.json").read_text(encoding="utf-8"))["models"]
    return {entry["name"]: _read_model(entry) for entry in entries}


def shipped_models() -> list[str]:
    """Names of the models that come with this package.

    Examples:
        >>> shipped_models()
        ['cascade_clip_small', 'panoshapes', 'panoshapes_mask_adapter', 'zegclip_small']
    """
    return sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())


def find_pretrained(name_or_path: str | Path) -> Pretrained:
    """The files of a trained model; a named one is fetched if it is not here.

    Args:
        name_or_path: a checkpoint with its configuration beside it (the file of the same name, else the only one), a
            folder with one checkpoint and one configuration, or a name of `shipped_models` or `published_models`.

    Raises:
        FileNotFoundError: a file is missing; the message says which one.
        DownloadError: a checkpoint could not be fetched; the message says how to get it by hand.
        ValueError: nothing has that name, or a folder holds several checkpoints.

    Examples:
        >>> find_pretrained("panoshapes").config.suffix
        '.yaml'
    """
    path = Path(name_or_path).expanduser()
    if str(name_or_path) and path.is_dir():
        weights = _only(path, WEIGHT_SUFFIXES, "checkpoint")
        return Pretrained(_config_beside(weights), weights)
    if path.is_file():
        return Pretrained(_config_beside(path), path)
    if str(name_or_path) in shipped_models():
        return find_pretrained(SHIPPED / name_or_path)
    model = published_models().get(str(name_or_path))
    if model is not None:
        return Pretrained(configs_folder() / model.config, model.fetch())
    if path.suffix in WEIGHT_SUFFIXES or len(path.parts) > 1:
        raise FileNotFoundError(f"there is no checkpoint {path}; check the path")
    raise ValueError(
        f'there is no model "{name_or_path}"; give a path, or one of '
        f"{', '.join([*shipped_models(), *published_models()])}"
    )


def resolve_weights(weights: str | Path) -> Path:
    """The file that MODEL.WEIGHTS names: a path as it is, or "zoo:NAME", which is fetched if it is not here.

    Raises:
        ValueError: there is no model of that name.
        DownloadError: it could not be fetched.
    """
    text = str(weights)
    if not text.startswith(ZOO_PREFIX):
        return Path(weights)
    name = text.removeprefix(ZOO_PREFIX)
    if name not in shipped_models() and name not in published_models():
        known = ", ".join([*shipped_models(), *published_models()])
        raise ValueError(
            f'there is no model "{name}" in MODEL.WEIGHTS "{text}"; give a path, or zoo: and one of {known}'
        )
    return find_pretrained(name).weights


def _read_model(entry: Mapping[str, Any]) -> PublishedModel:
    digest = f"sha256:{entry['sha256']}" if entry["sha256"] else None
    return PublishedModel(
        name=entry["name"],
        system=entry["system"],
        clip=entry["clip"],
        trained_on=entry["trained_on"],
        config=entry["config"],
        licence=entry["licence"],
        page=entry["page"],
        sources=tuple(read_source(source) for source in entry["sources"]),
        expected=Expected(entry["size"], digest, entry.get("sha256_is_certain", True)),
        published=entry["published"],
        is_converted=entry.get("layout") == "mmsegmentation",
    )


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


register_scheme(ZOO_PREFIX, resolve_weights)
