"""The HTTP interface: a picture and names in, what was found out, in any of the formats."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException

from fcclip.files.images import ImageTooLargeError, UnreadableImageError, decode_image
from fcclip.files.process_memory import resident_bytes
from fcclip.serving.admission import RETRY_SECONDS, Admission
from fcclip.serving.forms import FORMS, PICTURE, RECORD, Document, answer_record, drawn, in_format, plain_name
from fcclip.serving.models import NamesError, UnknownModelError
from fcclip.serving.sessions import Answer, Sessions

SWEEP_SECONDS = 30.0
MEDIA_TYPES = ("application/json", "image/png", "application/zip", "application/octet-stream")
REFUSALS = (404, 408, 413, 415, 422, 503)
AT_ONCE = 2  # pictures that are decoded, answered and written at once; the network takes one
# The most specific first.
STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (ImageTooLargeError, 413),
    (UnreadableImageError, 415),
    (UnknownModelError, 404),
    (NamesError, 422),
    (ValueError, 422),
)
Task = Literal["panoptic", "instance", "semantic"]
Form_ = Literal[FORMS]  # type: ignore[valid-type]


@dataclass(frozen=True)
class ServerLimits:
    """What the server bears.

    Attributes:
        upload: bytes of a picture that is sent.
        queue: requests that wait while others are answered; more are told to come again.
        seconds: in which a request has to arrive, and in which its turn has to come.
    """

    upload: int = 20_000_000
    queue: int = 20
    seconds: float = 60.0


DEFAULT_SERVER_LIMITS = ServerLimits()


class Problem(BaseModel):
    """Why a request was not answered, in one sentence."""

    error: str


class Health(BaseModel):
    """How the server is."""

    ready: bool
    version: str
    models: list[str]
    loaded: list[str]
    sessions: int
    session_bytes: int
    process_bytes: int


class Offered(BaseModel):
    """A model that may be asked."""

    name: str
    loaded: bool
    default: bool


@dataclass(frozen=True)
class Wish:
    """What a request asks for, besides its picture."""

    names: str
    task: str | None
    model: str | None
    form: str
    masks: bool


def build_app(
    sessions: Sessions,
    version: str = "",
    limits: ServerLimits = DEFAULT_SERVER_LIMITS,
    root_path: str = "",
) -> FastAPI:
    """The web application, without the page.

    Args:
        sessions: keep the pictures; of one that is sent twice, the second answer needs no encoding.
        version: of the package, for `/health`.
        limits: what the server bears.
        root_path: the path under which a proxy shows it, such as "/segment".

    Examples:
        >>> from fcclip.serving.models import Models
        >>> app = build_app(Sessions(Models(["panoshapes"], device="cpu")))
        >>> sorted(app.openapi()["paths"])
        ['/health', '/models', '/predict']
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_forget_idle, sessions)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(
        title="fcclip",
        summary="Open-vocabulary segmentation: a picture and names in, segments out.",
        version=version or "0",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _tell_errors(app)
    _add_looks(app, sessions, version)
    _add_predict(app, sessions, limits)
    inside = AT_ONCE + limits.queue
    app.add_middleware(
        Admission, most_bytes=limits.upload, most_inside=inside, seconds=limits.seconds, root_path=root_path
    )
    return app


def _add_looks(app: FastAPI, sessions: Sessions, version: str) -> None:
    models = sessions.models

    @app.get("/health")
    async def health() -> Health:
        """Whether the server is ready, and what it keeps in memory."""
        return Health(
            ready=bool(models.loaded),
            version=version,
            models=models.names,
            loaded=models.loaded,
            sessions=len(sessions),
            session_bytes=sessions.nbytes,
            process_bytes=resident_bytes(),
        )

    @app.get("/models")
    async def offered() -> list[Offered]:
        """The models that may be asked; one that is not loaded takes longer for its first answer."""
        loaded = models.loaded
        return [Offered(name=name, loaded=name in loaded, default=name == models.names[0]) for name in models.names]


def _add_predict(app: FastAPI, sessions: Sessions, limits: ServerLimits) -> None:
    turns = asyncio.Semaphore(AT_ONCE)
    content: dict[str, Any] = {
        kind: {} for kind in ("application/json", "image/png", "application/zip", "application/octet-stream")
    }
    problems: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in REFUSALS}

    @app.post("/predict", response_model=None, responses={200: {"content": content}, **problems})
    async def predict(
        request: Request,
        picture: Annotated[UploadFile, File(description="JPEG, PNG, WebP, TIFF, BMP, GIF or PPM")],
        names: Annotated[str, Form(description='classes to look for: "cat,kitten; sofa; sky=stuff"')],
        task: Annotated[Task | None, Form(description="by default the first that the model does")] = None,
        model: Annotated[str | None, Form(description="one of /models; the first by default")] = None,
        format: Annotated[Form_, Form(description="several files come as a ZIP")] = RECORD,
        masks: Annotated[bool, Form(description="in the JSON, the run lengths of each mask")] = True,
    ) -> Response:
        """Find the named classes in a picture."""
        wish = Wish(names, task, model, format, masks)
        with anyio.move_on_after(limits.seconds) as waiting:
            await turns.acquire()
        if waiting.cancelled_caught:
            later = {"Retry-After": str(RETRY_SECONDS)}
            raise HTTPException(503, "the server is busy; try again in some seconds", later)
        try:
            return await run_sync(_respond, sessions, picture.file, plain_name(picture.filename), wish)
        finally:
            turns.release()


def _respond(sessions: Sessions, file: BinaryIO, name: str, wish: Wish) -> Response:
    model = sessions.models.choose(wish.model)
    sessions.limits.read_names(wish.names)  # before the work
    image = decode_image(file, "what was sent", sessions.limits.check_picture)
    key = f"sent:{model}:{image.shape}:{hashlib.sha256(image.data).hexdigest()}"
    session = sessions.get(key)
    if session.image is None:
        session.show(image, model)
    answer = session.ask(wish.names, model)
    if wish.form == RECORD:
        return JSONResponse(answer_record(answer, wish.task, wish.masks))
    return _send(_write(answer, wish, name))


def _write(answer: Answer, wish: Wish, name: str) -> Document:
    if wish.form == PICTURE:
        return drawn(answer.segmentation, wish.task, name)
    return in_format(answer.segmentation, wish.form, wish.task, name)


def _send(document: Document) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{document.name}"'}
    return Response(document.content, media_type=document.media_type, headers=headers)


def _tell_errors(app: FastAPI) -> None:
    """Every error is one sentence of JSON."""

    async def of_http(request: Request, error: Any) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    async def of_form(request: Request, error: Any) -> Response:
        return JSONResponse({"error": _what_is_wrong(error)}, 422)

    def by_status(status: int) -> Callable[[Request, Exception], Any]:
        async def tell(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": " ".join(str(error).split())}, status)

        return tell

    async def of_program(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "the server failed; its log says why"}, 500)

    app.add_exception_handler(AnyHTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_form)
    for kind, status in STATUS_OF:
        app.add_exception_handler(kind, by_status(status))
    app.add_exception_handler(Exception, of_program)


def _what_is_wrong(error: RequestValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][-1])
    if first["type"] == "missing":
        example = 'curl -F picture=@photo.jpg --form-string "names=cat; dog"'
        return f'the form lacks "{field}"; send a picture and names, as in: {example}'
    return f'the field "{field}" is wrong: {first["msg"]}'


async def _forget_idle(sessions: Sessions) -> None:
    while True:
        await anyio.sleep(SWEEP_SECONDS)
        sessions.forget_idle()
