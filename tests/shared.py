"""Where the recorded reference outputs and sample images lie: beside the checkout, or $FCCLIP_SHARED."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("FCCLIP_SHARED", Path(__file__).resolve().parents[2] / "shared"))

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="reference outputs and sample data are not here")
