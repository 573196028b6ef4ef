"""What the doctor finds, and what it advises."""

from importlib import metadata
from types import SimpleNamespace

import torch

from fcclip.commands import doctor


def states(findings: list[doctor.Finding]) -> dict[str, str]:
    return {finding.topic.strip(): finding.state for finding in findings}


def test_a_whole_installation_lacks_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache" / "weights" / "fcclip_r50.pth").write_bytes(bytes(2_000_000))
    assert doctor.main([]) == 0
    said = capsys.readouterr().out
    assert said.endswith("missing: nothing\n")
    assert torch.__version__ in said
    assert "fcclip_r50.pth (2 MB)" in said
    found = states(doctor.examine())
    assert found["Detectron2"].startswith("0.6, ")
    if not torch.cuda.is_available():
        assert found["deformable attention"] in ("torch", "native")
        assert found["device"].startswith("cpu, ")


def test_versions_out_of_bounds_are_named(monkeypatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=99", "no-such-package>=1", 'onnx; extra == "export"'])
    findings = list(doctor._requirements())
    assert findings[0].state == "0 of 2 as wanted"
    assert [finding.remedy for finding in findings] == [
        "",
        "pip install 'numpy>=99'",
        "pip install 'no-such-package>=1'",
    ]
    assert states(findings)["no-such-package"] == "is not installed, wanted >=1"


def test_a_package_that_cannot_be_imported_is_told(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    module, error = doctor._import("broken_package")
    assert module is None
    assert error == "cannot be imported (RuntimeError: operator torchvision::nms does not exist)"
    assert doctor._import("no_such_package") == (None, "not installed")


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    [remedy] = [finding.remedy for finding in doctor._folders() if finding.remedy]
    assert remedy == "set FCCLIP_CACHE to a folder that can be written"


def test_an_official_build_of_detectron2_is_recognised(monkeypatch) -> None:
    found = SimpleNamespace(origin="/site/detectron2/_C.cpython-311-x86_64-linux-gnu.so")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _: found)
    [finding] = doctor._detectron2()
    assert "an official build" in finding.state
