"""Weight files that hold only what a training added to a named model or changed in it.

Such a `.safetensors` file names that model in its metadata, `{"builds_on": "zoo:panoshapes"}`: a Mask-Adapter of 0.2 MB
need not repeat the 11 MB of the FC-CLIP that it belongs to.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from fcclip.files.schemes import is_name, locate_weights

BUILDS_ON = "builds_on"


def base_of(path: Path) -> Path | None:
    """The weight file that this one adds to; None for a file that is whole.

    Raises:
        ValueError: it names a path, which would let a file decide what is read, no model, or one that is not whole.
        SafetensorError: it is damaged.
    """
    name = _stated(path)
    if name is None:
        return None
    if not is_name(name):
        raise ValueError(f'{path} builds on "{name}", which is no named model; get the file from its authors again')
    base = locate_weights(name)
    if _stated(base) is not None:
        raise ValueError(f'{path} builds on "{name}", which is not whole; get both files from their authors again')
    return base


def _stated(path: Path) -> str | None:
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get(BUILDS_ON)
