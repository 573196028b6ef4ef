"""The forms in which an answer leaves the server: plain JSON, a drawn picture, or files of other programs."""

from __future__ import annotations

import io
import mimetypes
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from fcclip.drawing.style import View
from fcclip.files.scratch import scratch_folder
from fcclip.formats.masks import choose_view
from fcclip.formats.names import FORMATS
from fcclip.formats.picture import encode_png
from fcclip.segmentation import Segmentation
from fcclip.serving.sessions import Answer

TASKS: dict[str, View] = {"panoptic": "panoptic", "instance": "instances", "semantic": "semantic"}
PICTURE = "png"
RECORD = "json"
FORMS = (RECORD, PICTURE, *FORMATS)


@dataclass(frozen=True)
class Document:
    """What is sent back.

    Attributes:
        content: its bytes.
        media_type: such as "image/png".
        name: under which a browser saves it.
    """

    content: bytes
    media_type: str
    name: str


def answer_record(answer: Answer, task: str | None, masks: bool) -> dict[str, Any]:
    """The plain record: what was asked, of whom, what was found and in what time.

    Args:
        answer: of a session.
        task: a key of `TASKS`; None for the first that the model gives.
        masks: with a run-length encoded mask per segment.

    Raises:
        ValueError: the model does not do that task.
    """
    found = one_view(answer.segmentation, task)
    return {
        "model": answer.model,
        "names": [category.name for category in found.vocabulary.categories],
        "unknown": list(answer.unknown),
        "seconds": round(answer.seconds, 4),
        **found.to_dict(masks=masks),
    }


def one_view(found: Segmentation, task: str | None) -> Segmentation:
    """The same with nothing but the result of one task.

    Raises:
        ValueError: it was not computed.
    """
    view = choose_view(found, TASKS[task] if task else None)
    return replace(
        found,
        panoptic=found.panoptic if view == "panoptic" else None,
        segments=found.segments if view == "panoptic" else (),
        instances=found.instances if view == "instances" else None,
        semantic=found.semantic if view == "semantic" else None,
    )


def drawn(found: Segmentation, task: str | None, name: str) -> Document:
    """The picture with the result of one task painted over it."""
    return Document(encode_png(one_view(found, task).draw()), "image/png", f"{Path(name).stem}.png")


def in_format(found: Segmentation, form: str, task: str | None, name: str) -> Document:
    """The file of one of the project's formats; several become a ZIP file.

    Args:
        found: what was found.
        form: a key of `FORMATS`.
        task: a key of `TASKS`; None for what suits the format.
        name: the plain name of the picture, by which the files call it; see `plain_name`.

    Raises:
        ValueError: the result has not what the format needs.
    """
    with scratch_folder("form") as folder:
        found.export(folder, form, name, TASKS[task] if task else None)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if len(files) == 1:
            kind = mimetypes.guess_type(files[0].name)[0] or "application/octet-stream"
            return Document(files[0].read_bytes(), kind, files[0].name)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
        return Document(buffer.getvalue(), "application/zip", f"{Path(name).stem}_{form}.zip")


def plain_name(name: str | None) -> str:
    """What a stranger calls a picture, as a name that is safe for a file: no folder, no odd characters, not long.

    Example:
        >>> plain_name("../../etc/my photo.jpg")
        'my_photo.jpg'
    """
    last = PurePosixPath((name or "").replace("\\", "/")).name
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", last)[-80:].lstrip("._-")
    return plain if re.fullmatch(r".+\.[A-Za-z]{2,5}", plain) else "picture.png"
