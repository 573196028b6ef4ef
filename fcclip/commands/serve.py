"""Serve a web page, and an HTTP interface for programs: one model for many people.

    fcclip serve --model panoshapes
    curl -F picture=@photo.jpg --form-string "names=cat,kitten; sofa; wall=stuff" http://127.0.0.1:7860/predict

docs/serving.md tells the rest. Nothing that visitors send leaves this machine. A picture of more than 1 MB is a
temporary file while it is received; one that is dropped on the page stays in the temporary folder for up to 65 minutes.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress

from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.flags import positive_number, whole_number

QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
NEEDED = ("fastapi", "uvicorn", "python_multipart", "gradio")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the process is told to end; returns the exit code."""
    options = build_parser().parse_args(argv)
    return run_command("fcclip serve", lambda: _serve(options), options.debug)


def build_parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="fcclip serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--model",
        action="append",
        metavar="NAME",
        help="repeatable: a trained model, a checkpoint or a YAML file; "
        "the first is asked by default (default: fcclip_convnext_large)",
    )
    add("--host", default="127.0.0.1", help='"0.0.0.0" lets other machines in (default: %(default)s)')
    add("--port", type=whole_number(0), default=7860, help="0 for any that is free (default: %(default)s)")
    add("--root-path", default="", metavar="PATH", help='the path at which a proxy shows it, such as "/segment"')
    add(
        "--trusted-proxies",
        default="127.0.0.1",
        metavar="ADDRESSES",
        help="whose X-Forwarded headers are believed (default: %(default)s)",
    )
    _add_limits(parser)
    add("--no-page", action="store_true", help="the HTTP interface alone")
    add("--device", help='"cpu", "cuda", "mps"; by default the GPU where there is one')
    add("--fast", action="store_true", help="compute in bfloat16 or int8, as the device is fast, at a small loss")
    add_debug_flag(parser)
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What visitors may ask of the machine."""
    add = parser.add_argument
    add("--max-upload", type=positive_number, default=20.0, metavar="MB", help="default: %(default)s")
    add("--max-pixels", type=positive_number, default=16e6, metavar="N", help="of a picture (default: %(default)g)")
    add("--max-names", type=whole_number(1), default=300, metavar="N", help="of one question (default: %(default)s)")
    add(
        "--max-memory",
        type=positive_number,
        default=2.0,
        metavar="GB",
        help="for the pictures of all visitors together (default: %(default)s)",
    )
    add(
        "--max-idle",
        type=positive_number,
        default=30.0,
        metavar="MINUTES",
        help="after which a picture is forgotten (default: %(default)s)",
    )
    add(
        "--queue",
        type=whole_number(0),
        default=20,
        metavar="N",
        help="requests that wait; more are told to come again (default: %(default)s)",
    )
    add(
        "--timeout",
        type=positive_number,
        default=60.0,
        metavar="SECONDS",
        help="for a request to arrive, and for its turn to come (default: %(default)s)",
    )
    add(
        "--keep-models",
        type=whole_number(1),
        default=2,
        metavar="N",
        help="models in memory at once (default: %(default)s)",
    )


def _serve(options: argparse.Namespace) -> int:
    os.environ.update(QUIET)  # before any of these packages is imported
    _require_packages(with_page=not options.no_page)
    root_path = _clean_root(options.root_path)
    importlib.import_module("fcclip.public")
    from fcclip.commands.doctor import own_version
    from fcclip.commands.options import DEFAULT_MODEL
    from fcclip.serving.http import ServerLimits, build_app
    from fcclip.serving.models import Models
    from fcclip.serving.server import address, bind, run
    from fcclip.serving.sessions import Limits, Sessions

    # What visitors type is not for the log; they are told themselves.
    logging.getLogger("fcclip.meta_arch.vocabularies").setLevel(logging.ERROR)
    models = Models(options.model or [DEFAULT_MODEL], options.keep_models, device=options.device, fast=options.fast)
    with bind(options.host, options.port) as bound:
        models.get()
        sessions = Sessions(
            models,
            int(options.max_memory * 1e9),
            options.max_idle * 60,
            Limits(int(options.max_pixels), options.max_names),
        )
        limits = ServerLimits(int(options.max_upload * 1e6), options.queue, options.timeout)
        app = build_app(sessions, own_version(), limits, root_path)
        if not options.no_page:
            from fcclip.serving.page import mount_page

            mount_page(app, sessions, "/", limits.upload, limits.queue, root_path or None)
        with suppress(KeyboardInterrupt):
            print(f"fcclip serves {', '.join(models.names)} at {address(bound)}{root_path}; Ctrl-C ends it", flush=True)
            run(app, bound, options.trusted_proxies)
    print("fcclip has ended", flush=True)
    return 0


def _require_packages(with_page: bool) -> None:
    """Raises: ModuleNotFoundError: a package of the extra is not installed."""
    for name in NEEDED if with_page else NEEDED[:-1]:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'the server needs {error.name}, which is not installed; install it with: pip install "fcclip[demo]"'
            ) from None


def _clean_root(path: str) -> str:
    """ "segment/" -> "/segment"."""
    plain = path.strip("/")
    return f"/{plain}" if plain else ""
