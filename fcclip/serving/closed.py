"""What gradio would do at the word of a request, and is not to do here: open files by path, and fetch addresses."""

from __future__ import annotations

from typing import Any, NoReturn

import gradio as gr
from gradio import processing_utils


def close_doors(blocks: gr.Blocks) -> None:
    """Let requests to a page name files that were uploaded to it, and nothing else.

    gradio checks the paths of a request only on pages that `launch` has started, not on those that are mounted into an
    application; and for an address in place of a path it would ask other machines.

    Args:
        blocks: a page that was mounted.
    """
    blocks.has_launched = True
    processing_utils.async_ssrf_protected_download = _refuse


async def _refuse(url: str, *_: Any, **__: Any) -> NoReturn:
    raise ValueError("pictures are uploaded, not fetched from an address")


def keep_as_uploaded(picture: gr.Image) -> None:
    """Hand the path of an uploaded file to replies as it is, so that a file that is no picture is told of by them."""

    def path_of(payload: Any) -> str | None:
        return payload.path if payload else None

    picture.preprocess = path_of  # type: ignore[method-assign]  # gradio writes files beside the code of subclasses
