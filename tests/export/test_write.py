"""What cannot be exported is told before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from fcclip import get_cfg
from fcclip.__main__ import main
from fcclip.export import write
from fcclip.export.write import ExportOptions, check_can_export


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"int8": "half"}, 'not "half"'),
        ({"int8": "calibrated"}, "calibrating needs pictures .* give a folder with --images"),
        ({"opset": 7}, "the opset is one of .*, not 7"),
        ({"deformable": "triton"}, 'deformable attention is exported as .*, not "triton"'),
    ],
)
def test_choices(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_can_export(get_cfg(), ExportOptions(**choices))


def test_models() -> None:
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "ZegCLIP"
    with pytest.raises(ValueError, match="8 bits were tried with FCCLIP alone; export this model without --int8"):
        check_can_export(cfg, ExportOptions(int8="dynamic"))
    cfg.MODEL.META_ARCHITECTURE = "CLIP"
    with pytest.raises(ValueError, match="CLIP cannot be exported, .*; export FCCLIP"):
        check_can_export(cfg, ExportOptions())


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "ZegCLIP"
    monkeypatch.setattr(write, "EXPORTER_WORKS", False)
    monkeypatch.setattr(write, "NEEDED", ("json",))
    with pytest.raises(RuntimeError, match=r"exporting needs PyTorch 2\.9 or newer, and this is \d.*; update it"):
        check_can_export(cfg, ExportOptions())
    monkeypatch.setattr(write, "NEEDED", ("json", "surely_not_installed"))
    with pytest.raises(ModuleNotFoundError, match=r"exporting needs surely_not_installed: pip install"):
        check_can_export(cfg, ExportOptions())


def test_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--output", str(tmp_path / "out")]) != 0
    assert "name what to export: --model NAME or --config-file FILE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
