import sys

import pytest

from tests.tiny import CLIP_DESCRIPTIONS
from tools import benchmark_family


def test_every_system_and_saving_has_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["MODEL.FC_CLIP.CLIP_MODEL_NAME", str(CLIP_DESCRIPTIONS["convnext"]), "MODEL.FC_CLIP.EMBED_DIM", "32"]
    tiny += ["MODEL.cdt_params", "[32, 4]", "MODEL.MASK_ADAPTER.NUM_CHANNELS", "16"]
    common = ["--size", "64", "96", "--classes", "5", "--systems", "FC-CLIP", "Mask-Adapter", "MAFT+", "--opts"]
    monkeypatch.setattr(sys, "argv", ["benchmark_family.py", *common, *tiny])
    benchmark_family.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:24].strip(): line[24:].split() for line in lines}
    assert {"FC-CLIP", "MAFT+", *benchmark_family.WAYS} <= rows.keys()
    assert all(float(rows[way][2]) < 1e-5 for way in benchmark_family.WAYS)
