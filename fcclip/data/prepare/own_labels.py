"""Renumber the user's own label maps so that their values are 0, 1, 2, ... as training needs them."""

from __future__ import annotations

from pathlib import Path

from fcclip.data.prepare.jobs import Options, Output
from fcclip.data.prepare.label_maps import convert_folder, lookup_table
from fcclip.vocabulary import read_names

IGNORE = 255


def prepare(options: Options, labels: Path, names: Path, output: Path) -> list[Output]:
    """Write a folder of label maps in which the classes of a names file are 0, 1, 2, ... and all else is 255.

    Args:
        options: number of processes.
        labels: folder of label maps (PNG, 8 bits).
        names: lines `value:name,synonym,...`; classes are numbered by ascending value.
        output: the folder to write.
    """
    values = list(read_names(names).by_id())
    if not values or values[-1] > 255 or len(values) > IGNORE:
        raise ValueError(
            f"{names} should give 1 to {IGNORE} classes values 0..255 (lines value:name), it gives {values}"
        )
    table = lookup_table({value: index for index, value in enumerate(values)}, IGNORE)
    return [convert_folder(labels, output, table, options, "label maps")]
