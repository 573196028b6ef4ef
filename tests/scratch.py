"""What a process that is killed while it writes leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

WRITE_AND_DIE = """
import os, signal, sys
from fcclip.files.atomic import atomic_path
with atomic_path(sys.argv[1]) as scratch:
    scratch.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_scratch(path: Path) -> Path:
    """Let a process die while it writes `path`; the scratch file."""
    before = set(path.parent.iterdir())
    command = [sys.executable, "-c", WRITE_AND_DIE, str(path)]
    repository = Path(__file__).resolve().parents[1]
    subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(repository)})
    (scratch,) = set(path.parent.iterdir()) - before
    return scratch
