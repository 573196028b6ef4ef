"""The server, with its page, in a thread of this process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from fcclip.serving.http import DEFAULT_SERVER_LIMITS, build_app
from fcclip.serving.models import Models
from fcclip.serving.page import mount_page
from fcclip.serving.server import address, bind
from fcclip.serving.sessions import Sessions


@contextmanager
def serve_page() -> Iterator[str]:
    """Serve the small model on a free port; the address."""
    sessions = Sessions(Models(["panoshapes"], device="cpu"))
    app = build_app(sessions)
    mount_page(app, sessions, max_upload=DEFAULT_SERVER_LIMITS.upload, queue=DEFAULT_SERVER_LIMITS.queue)
    with bind("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.05)
        yield f"{address(bound)}/"
        server.should_exit = True
        thread.join()
