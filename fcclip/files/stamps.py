"""Files that carry a digest of what they were made from, so that a changed input is noticed and they are made anew.

The digest is of the names, sizes and times of the inputs and of the recipe, and lies in the output itself: as a text of
a PNG, the description of a TIFF, the comment of a JPEG.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

STAMP = "fcclip-made-from"
_DESCRIPTION = 270  # TIFF tag ImageDescription
# How files end, which the decoders do not look at.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def stamp_of(sources: Iterable[Path], recipe: bytes | str = b"") -> str:
    """Digest of input files and of how they are used.

    Args:
        sources: the files; their names, sizes and times of change count, not their folders.
        recipe: whatever else the output depends on, such as a table of classes.

    Raises:
        FileNotFoundError: a source does not exist.
    """
    digest = hashlib.sha256(recipe.encode() if isinstance(recipe, str) else recipe)
    for source in sources:
        try:
            status = source.stat()
        except OSError:
            raise FileNotFoundError(f"{source} does not exist; is the download unpacked completely?") from None
        digest.update(f"\n{source.name} {status.st_size} {status.st_mtime_ns}".encode())
    return f"{STAMP} {digest.hexdigest()[:32]}"


def save_stamped(image: Image.Image, path: Path, stamp: str) -> None:
    """Save an image in the format of the suffix (PNG, TIFF or JPEG), with its stamp; an empty stamp is left away."""
    if not stamp:
        image.save(path)
    elif path.suffix == ".png":
        text = PngInfo()
        text.add_text(STAMP, stamp)
        image.save(path, pnginfo=text)
    elif path.suffix in (".tif", ".tiff"):
        image.save(path, tiffinfo={_DESCRIPTION: stamp})
    else:
        image.save(path, comment=stamp)


def is_current(path: Path, stamp: str) -> bool:
    """Whether an image exists, carries this stamp and is whole."""
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        with Image.open(path) as image:
            if _read_stamp(image) != stamp:
                return False
            if image.format == "PNG":
                image.verify()  # checks the sums of all chunks without decoding them
            elif image.format != "JPEG":
                image.load()
    except Exception:  # noqa: BLE001 - Pillow's decoders raise a dozen unrelated types for damaged files
        return False
    return path.read_bytes().endswith(_ENDS.get(image.format or "", b""))


def _read_stamp(image: Image.Image) -> str:
    if image.format == "TIFF":
        return str(getattr(image, "tag_v2", {}).get(_DESCRIPTION, ""))
    found = image.info.get(STAMP if image.format == "PNG" else "comment", "")
    return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)
