"""The demo on the tiny model."""

from pathlib import Path

import pytest

from fcclip.commands.demo import main
from tests.integration.demo import NAMES, RunDemo
from tests.tiny import write_tiny_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    return write_tiny_config(tmp_path, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0)


@pytest.fixture
def run_demo(config: Path) -> RunDemo:
    """Runs the demo's main function in this process, on the tiny model."""

    def run(*arguments: object, vocabulary: str | None = NAMES) -> int:
        given = ["--config-file", str(config), *map(str, arguments)]
        opts = given.index("--opts") if "--opts" in given else len(given)
        if vocabulary is not None:
            given[opts:opts] = ["--vocabulary", vocabulary]
        return main(given)

    return run
