#!/usr/bin/env python3
"""A machine learning backend for Label Studio: it labels pictures with the labels of the project, or a prompt.

    LABEL_STUDIO_API_KEY=... python integrations/label_studio_backend.py --label-studio http://localhost:8080 \\
        --model fcclip_convnext_large --stuff sky grass

Then add http://localhost:9090 as a model in the project's settings. Projects with `BrushLabels` get brush masks,
those with `PolygonLabels` polygons. Synonyms of a label are its `predicted_values`:
`<Label value="cat" predicted_values="kitten,tabby"/>`. A text area is a prompt: what is written in it, such as
"striped cat; wool=stuff", is looked for instead; what is no label then gets the project's first label.

Needs nothing besides this package.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run from a checkout that is not installed

from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.files.images import read_image
from fcclip.flags import non_negative_number, probability, whole_number
from fcclip.formats.label_studio import CONTROL_TAGS, Shape, label_studio_results
from fcclip.formats.writer import DEFAULT_TOLERANCE
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary

MODEL_VERSION = "fcclip"
DEFAULT_PORT = 9090
LARGEST_REQUEST = 256 << 20  # bytes
LARGEST_IMAGE = 512 << 20
TIMEOUT = 60  # seconds, to fetch a picture
LOCAL_FILES = "/data/local-files/"
DOTS_OF_PERSONAL_TOKEN = 2  # a JSON web token; legacy tokens have none


@dataclass(frozen=True)
class Project:
    """What a labelling configuration asks for.

    Attributes:
        shape: "brush" or "polygon".
        from_name, to_name: names of the control tag and of the image tag.
        field: the field of a task's data that holds the picture's address.
        classes: the labels, each with its synonyms.
    """

    shape: Shape
    from_name: str
    to_name: str
    field: str
    classes: tuple[Category, ...]


def read_project(label_config: str, stuff: Sequence[str] = ()) -> Project:
    """Read a labelling configuration.

    Args:
        label_config: its XML.
        stuff: labels that cannot be counted.

    Raises:
        ValueError: it is no XML, or has no BrushLabels or PolygonLabels with labels for an image.
    """
    try:
        root = ElementTree.fromstring(label_config)  # noqa: S314 - expat bounds entities, and fetches none
    except ElementTree.ParseError as error:
        raise ValueError(f"the labelling configuration is not XML: {error}") from None
    images = {tag.get("name"): tag.get("value", "").lstrip("$") for tag in root.iter("Image")}
    for shape, kind in CONTROL_TAGS.items():
        for control in root.iter(kind):
            labels = [label for label in control.iter("Label") if label.get("value")]
            if control.get("toName") in images and labels:
                classes = tuple(_category(label, stuff) for label in labels)
                to_name = str(control.get("toName"))
                return Project(shape, control.get("name", "label"), to_name, images[to_name], classes)
    raise ValueError("the labelling configuration needs BrushLabels or PolygonLabels with labels, for an Image")


def _category(label: ElementTree.Element, stuff: Sequence[str]) -> Category:
    name = str(label.get("value"))
    synonyms = [synonym.strip() for synonym in label.get("predicted_values", "").split(",")]
    names = dict.fromkeys([name, *(synonym for synonym in synonyms if synonym)])
    return Category(tuple(names), is_thing=name not in stuff)


def read_prompt(context: dict[str, Any] | None) -> str:
    """The text that was written into a text area, "" if there is none."""
    for region in (context or {}).get("result") or ():
        if region.get("type") == "textarea":
            text = region.get("value", {}).get("text", "")
            return " ".join(text) if isinstance(text, list) else str(text)
    return ""


@dataclass(frozen=True)
class Pictures:
    """Where pictures may come from.

    Attributes:
        label_studio: address of Label Studio; pictures are fetched from there only, and the key is sent there only.
        key: an access token of Label Studio, personal or legacy; "" for none.
        folder: root of Label Studio's local files, or None.
    """

    label_studio: str
    key: str = ""
    folder: Path | None = None

    def read(self, address: str) -> np.ndarray:
        """The picture at an address of a task: (H, W, 3) uint8 RGB.

        Raises:
            ValueError, OSError: it may not be read, is not there or is no picture.
        """
        if address.startswith("data:"):
            return _decode(base64.b64decode(address.partition(",")[2]))
        parts = urlsplit(address)
        if parts.path.startswith(LOCAL_FILES) and self.folder is not None:
            root = self.folder.resolve()
            path = (root / parse_qs(parts.query).get("d", [""])[0]).resolve()
            if root not in path.parents:
                raise ValueError(f"{address} is outside of {root}")
            return read_image(path)
        url = urljoin(self.label_studio, address)
        if urlsplit(url)[:2] != urlsplit(self.label_studio)[:2]:
            raise ValueError(f"{address} is not on {self.label_studio}; pictures are fetched from nowhere else")
        return _decode(_open(Request(url, headers=self._authorization())))  # noqa: S310 - of Label Studio, as told

    def _authorization(self) -> dict[str, str]:
        """The header that lets us in: a legacy token is sent as it is, a personal one buys a short-lived one."""
        if self.key.count(".") != DOTS_OF_PERSONAL_TOKEN:
            return {"Authorization": f"Token {self.key}"} if self.key else {}
        body = json.dumps({"refresh": self.key}).encode()
        url = urljoin(self.label_studio, "/api/token/refresh")
        request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - of Label Studio, as told
        answer = json.loads(_open(request))
        return {"Authorization": f"Bearer {answer['access']}"}


def _open(request: Request) -> bytes:
    with build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as response:
        data: bytes = response.read(LARGEST_IMAGE)
    return data


class _NoRedirect(HTTPRedirectHandler):
    """The key must not follow to another machine."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _decode(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise a dozen unrelated types for damaged files
        raise ValueError(f"the picture cannot be read: {error}") from None


@dataclass
class Backend:
    """Answers Label Studio's requests, one at a time.

    Attributes:
        segmenter: a model.
        pictures: reads the tasks' pictures.
        stuff: labels that cannot be counted.
        threshold: what scores less is left out.
        tolerance: pixels by which polygons may deviate from their masks.
    """

    segmenter: Segmenter
    pictures: Pictures
    stuff: tuple[str, ...] = ()
    threshold: float = 0.5
    tolerance: float = DEFAULT_TOLERANCE

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            LookupError: there is no such address.
            ValueError, OSError: the request cannot be fulfilled; the message says why.
        """
        if path in ("/", "/health"):
            return {"status": "UP", "model_class": type(self).__name__}
        if path == "/setup":
            read_project(body.get("schema") or "", self.stuff)  # tells now what would fail later
            return {"model_version": MODEL_VERSION}
        if path == "/predict":
            return {"results": self.predict(body), "model_version": MODEL_VERSION}
        if path == "/versions":
            return {"versions": [MODEL_VERSION]}
        if path == "/webhook":  # Label Studio tells of annotations, from which a model could learn
            return {"status": "nothing is trained here"}
        raise LookupError(path)

    def predict(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """A prediction per task of a request."""
        project = read_project(body.get("label_config") or "", self.stuff)
        prompt = read_prompt((body.get("params") or {}).get("context"))
        vocabulary = Vocabulary.from_string(prompt) if prompt.strip() else Vocabulary(project.classes)
        with self._lock:
            if vocabulary != self._vocabulary:
                self.segmenter.set_vocabulary(vocabulary)
                self._vocabulary = vocabulary
            return [self._predict_task(task, project) for task in body.get("tasks") or ()]

    def _predict_task(self, task: dict[str, Any], project: Project) -> dict[str, Any]:
        address = (task.get("data") or {}).get(project.field)
        if not address:
            raise ValueError(f'a task has no "{project.field}" among its data, which the configuration asks for')
        result = self.segmenter.predict(self.pictures.read(str(address))).above(self.threshold)
        regions = label_studio_results(
            result, project.shape, self.tolerance, from_name=project.from_name, to_name=project.to_name
        )
        for region in regions:
            _use_label_of_project(region, project)
        scores = [region["score"] for region in regions if "score" in region]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"model_version": MODEL_VERSION, "score": score, "result": regions}


def _use_label_of_project(region: dict[str, Any], project: Project) -> None:
    """Give a region found by a prompt a label that the project has, and keep the prompt's name as a note."""
    kind = region["type"]
    (name,) = region["value"][kind]
    label = next((category.name for category in project.classes if name in category.names), None)
    if label is None:
        region["meta"] = {"text": [name]}
    region["value"][kind] = [label or project.classes[0].name]


def make_server(backend: Backend, host: str, port: int) -> ThreadingHTTPServer:
    """A server that waits at an address; `serve_forever` starts it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > LARGEST_REQUEST:
                self._send(413, {"error": f"a request has at most {LARGEST_REQUEST >> 20} MiB"})
                return
            try:
                body = json.loads(self.rfile.read(length) or b"{}")
            except ValueError:
                body = None
            if isinstance(body, dict):
                self._respond(body)
            else:
                self._send(400, {"error": "the request is not a JSON object"})

        def _respond(self, body: dict[str, Any]) -> None:
            try:
                self._send(200, backend.answer(urlsplit(self.path).path, body))
            except LookupError:
                self._send(404, {"error": f"there is no {self.path} here"})
            except (ValueError, OSError, RuntimeError) as error:
                print(f"label_studio_backend.py: {error}", file=sys.stderr)
                self._send(400, {"error": str(error)})

        def _send(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return ThreadingHTTPServer((host, port), Handler)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-studio", default="http://localhost:8080", metavar="URL", help="its address")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="root of Label Studio's local files")
    parser.add_argument("--model", default="fcclip_convnext_large", help="a model's name, or a checkpoint")
    parser.add_argument("--stuff", nargs="+", default=[], metavar="LABEL", help="labels that cannot be counted")
    parser.add_argument("--threshold", type=probability, default=0.5, help="drop what scores less (0..1)")
    parser.add_argument(
        "--tolerance", type=non_negative_number, default=DEFAULT_TOLERANCE, help="of polygons, in pixels"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to wait; 0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=whole_number(0), default=DEFAULT_PORT)
    parser.add_argument("--device", help='"cpu", "cuda"')
    add_debug_flag(parser)
    options = parser.parse_args(arguments)
    return run_command(parser.prog, lambda: serve(options), options.debug)


def serve(options: argparse.Namespace) -> None:
    """Answer Label Studio until Ctrl-C."""
    segmenter = Segmenter.from_pretrained(options.model, device=options.device)
    pictures = Pictures(options.label_studio, os.environ.get("LABEL_STUDIO_API_KEY", ""), options.files)
    backend = Backend(segmenter, pictures, tuple(options.stuff), options.threshold, options.tolerance)
    try:
        waiting = make_server(backend, options.host, options.port)
    except OSError as error:
        raise ValueError(f"{options.host}:{options.port} cannot be used ({error}); give another --port") from error
    with waiting as server:
        print(f"waiting for Label Studio at http://{options.host}:{server.server_port}; Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    print("stopped")


if __name__ == "__main__":
    sys.exit(main())
