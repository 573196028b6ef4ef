"""A server with its page, and a visitor of it who asks for all kinds of answers and then tells the server to end.

python tests/faults/visit.py ANSWERS
"""

import io
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from fcclip.commands import serve
from fcclip.data.panoshapes.scene import render_scene

NAMES = "red star; blue circle; grass=stuff"
FORMS = ("json", "png", "labelme", "yolo", "coco-panoptic")
PATIENCE = 120  # seconds


def visit(address: str, answers: Path) -> None:
    """Ask, write the answers down, and end the process."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            requests.get(f"{address}/health", timeout=5)
            break
        except requests.RequestException:
            time.sleep(0.02)
    found = {"page": requests.get(address, timeout=PATIENCE).status_code}
    for number in range(3):
        buffer = io.BytesIO()
        Image.fromarray(render_scene(np.random.default_rng(number), 64, 64).image).save(buffer, "PNG")
        for form in FORMS:
            reply = requests.post(
                f"{address}/predict",
                files={"picture": ("scene.png", buffer.getvalue())},
                data={"names": NAMES, "format": form},
                timeout=PATIENCE,
            )
            content = {**reply.json(), "seconds": 0} if form == "json" else len(reply.content)
            found[f"{number} {form}"] = [reply.status_code, content]
    answers.write_text(json.dumps(found))
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threading.Thread(target=visit, args=(f"http://127.0.0.1:{port}", Path(sys.argv[1])), daemon=True).start()
    sys.exit(serve.main(["--model", "panoshapes", "--device", "cpu", "--port", port]))
