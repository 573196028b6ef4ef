"""Temporary folders: those of processes that were killed are deleted, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest

from fcclip.batch.scratch import make_scratch, remove_abandoned


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only there it can be told who is alive")
def test_what_a_killed_process_left(tmp_path: Path) -> None:
    mine = make_scratch("part", str(tmp_path))
    code = f"from fcclip.batch.scratch import make_scratch; print(make_scratch('part', {str(tmp_path)!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "fcclip-of-somebody").mkdir()
    assert Path(found).is_dir()
    remove_abandoned(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fcclip-of-somebody", mine.name]
