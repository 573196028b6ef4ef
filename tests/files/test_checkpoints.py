import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fcclip.files.checkpoints import holds_prefix, is_torchscript_archive, read_state_dict

STATE = {"a.weight": torch.arange(3.0), "b": torch.tensor(1)}


class Bomb:
    """Unpickling this would run a command."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s, "iteration": 3}, lambda s: {"state_dict": s}])
def test_reads_checkpoints_of_trainers(tmp_path, wrap) -> None:
    path = tmp_path / "model.pth"
    torch.save(wrap(STATE), path)
    found = read_state_dict(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["a.weight"], STATE["a.weight"])


def test_reads_the_old_format_and_safetensors(tmp_path) -> None:
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "new.safetensors")
    for name in ("old.pth", "new.safetensors"):
        assert torch.equal(read_state_dict(tmp_path / name)["a.weight"], STATE["a.weight"])


@pytest.mark.parametrize("old_format", [False, True])
def test_nothing_in_a_file_is_run(tmp_path, old_format: bool) -> None:
    target = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    torch.save({"model": Bomb(str(target))}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match=r"evil\.pth is not a plain weight file"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps(Bomb(str(target))))
    with pytest.raises(ValueError, match=r"evil\.pth"):
        read_state_dict(path)
    assert not target.exists()


def test_damaged_and_foreign_files_are_named(tmp_path) -> None:
    path = tmp_path / "model.pth"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"model\.pth"):
        read_state_dict(path)
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(ValueError, match=r"cut\.safetensors is damaged"):
        read_state_dict(tmp_path / "cut.safetensors")
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds no weights"):
        read_state_dict(path)
    with pytest.raises(FileNotFoundError, match="no weight file"):
        read_state_dict(tmp_path / "none.pth")


def test_prefix_is_found_in_both_formats(tmp_path) -> None:
    torch.save({"model": STATE}, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        assert holds_prefix(tmp_path / name, "a.")
        assert not holds_prefix(tmp_path / name, "c.")
    assert not holds_prefix(tmp_path / "none.pth", "a.")


def test_torchscript_archive_is_read_without_its_code(tmp_path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).half().eval()
    path = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(module), path)
    assert is_torchscript_archive(path)
    found = read_state_dict(path)
    assert found.keys() == module.state_dict().keys()
    assert found["0.weight"].dtype == torch.float32
    assert torch.equal(found["0.weight"], module[0].weight.float())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_are_mapped_rather_than_read(tmp_path, name) -> None:
    """So that a model and the file it is loaded from are not in memory together."""
    path = tmp_path / name
    tensors = {"weight": torch.randn(300, 400)}
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    weight = read_state_dict(path)["weight"]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= weight.data_ptr() < stop:
            assert line.endswith(name)
            return
    pytest.fail("the weight is nowhere")
