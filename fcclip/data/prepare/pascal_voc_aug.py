"""PASCAL VOC 2012's additional training images, with the annotations of SBD (Semantic Boundaries Dataset)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from fcclip.data.prepare.jobs import Options, Output, copy_file, count_outputs, run_jobs
from fcclip.data.prepare.label_maps import convert_label_map, lookup_table, renumber, write_label_map
from fcclip.data.prepare.pascal_voc import IGNORE, read_list
from fcclip.files.stamps import is_current, stamp_of

FOLDER = "training_aug"


def prepare(options: Options) -> list[Output]:
    """SBD's label maps of images that VOC 2012 does not annotate -> pascal_voc_d2/{images,annotations_pascal20}.

    Reads the PNGs in VOC2012/SegmentationClassAug if there is such a folder, else the MATLAB files of SBD itself.
    """
    voc, sbd = options.root / "VOCdevkit/VOC2012", options.root / "VOCdevkit/VOCaug/dataset"
    pngs = voc / "SegmentationClassAug"
    stems = _additional_images(voc, sbd, pngs)
    table = lookup_table({label: label - 1 for label in range(1, 21)}, IGNORE)
    images, labels = (options.root / "pascal_voc_d2" / kind / FOLDER for kind in ("images", "annotations_pascal20"))
    copies = [(voc / "JPEGImages" / f"{stem}.jpg", images / f"{stem}.jpg") for stem in stems]
    if pngs.is_dir():
        convert, sources = partial(convert_label_map, table=table), [pngs / f"{stem}.png" for stem in stems]
    else:
        convert, sources = partial(_convert_mat, table=table), [sbd / "cls" / f"{stem}.mat" for stem in stems]
    conversions = [(source, labels / f"{stem}.png") for source, stem in zip(sources, stems, strict=True)]
    return [
        count_outputs(images, run_jobs(copy_file, copies, options.workers, f"images/{FOLDER}")),
        count_outputs(labels, run_jobs(convert, conversions, options.workers, f"annotations_pascal20/{FOLDER}")),
    ]


def _additional_images(voc: Path, sbd: Path, pngs: Path) -> list[str]:
    """Stems of the images that SBD annotates and VOC's own segmentation sets do not have."""
    lists = voc / "ImageSets/Segmentation"
    if (sbd / "train.txt").is_file():
        annotated = {*read_list(sbd / "train.txt"), *read_list(sbd / "val.txt")}
    elif pngs.is_dir():
        annotated = {path.stem for path in pngs.glob("*.png")}
    else:
        raise FileNotFoundError(f"neither {sbd} nor {pngs} exists; unpack SBD as datasets/README.md says")
    return sorted(annotated - {*read_list(lists / "train.txt"), *read_list(lists / "val.txt")})


def _convert_mat(paths: tuple[Path, Path], table: np.ndarray) -> bool:
    source, target = paths
    stamp = stamp_of([source], table.tobytes())
    if is_current(target, stamp):
        return False
    write_label_map(target, renumber(read_classes_mat(source), table, source), stamp)
    return True


def read_classes_mat(path: Path) -> np.ndarray:
    """The (H, W) uint8 array GTcls.Segmentation of a MATLAB file of SBD: 0 = background, 1..20.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no such array.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack SBD (benchmark.tgz) completely")
    try:
        return np.asarray(loadmat(path, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation)
    except Exception as error:  # a damaged file makes SciPy raise a dozen unrelated types
        raise ValueError(f"{path} is not a readable MATLAB file with GTcls.Segmentation: {error}") from error
