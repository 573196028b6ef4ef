"""What a process that is killed while it writes leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

WRITE_AND_DIE = """
import os, signal, sys
from fcclip.files import atomic
with getattr(atomic, sys.argv[2])(sys.argv[1]) as scratch:
    (scratch / "part" if scratch.is_dir() else scratch).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_scratch(path: Path, writer: str = "atomic_path") -> Path:
    """Let a process die while it writes `path` by a function of `fcclip.files.atomic`; the scratch file."""
    before = set(path.parent.iterdir())
    command = [sys.executable, "-c", WRITE_AND_DIE, str(path), writer]
    repository = Path(__file__).resolve().parents[1]
    subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(repository)})
    (scratch,) = set(path.parent.iterdir()) - before
    return scratch
