"""A server of the page in a thread of this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fastapi
import uvicorn

from fcclip.serving.models import Models
from fcclip.serving.page import mount_page
from fcclip.serving.sessions import Sessions


@contextmanager
def serve_page() -> Iterator[str]:
    """Serve the page with the small model on a free port; its address."""
    app = fastapi.FastAPI()
    mount_page(app, Sessions(Models(["panoshapes"], device="cpu")))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()
