import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fcclip.files.checkpoints import holds_prefix, is_torchscript_archive, read_checkpoint, read_state_dict

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
    with pytest.raises(FileNotFoundError, match="there is no weight file"):
        holds_prefix(tmp_path / "none.pth", "a.")


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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix: str) -> None:
    state = {prefix + key: tensor for key, tensor in STATE.items()}
    torch.save({"model": state}, tmp_path / "wrapped.pth")
    save_file(state, tmp_path / "wrapped.safetensors")
    for name in ("wrapped.pth", "wrapped.safetensors"):
        assert read_state_dict(tmp_path / name).keys() == STATE.keys()
        assert holds_prefix(tmp_path / name, "a.")


def test_numbers_of_numpy_beside_the_weights_are_plain_data(tmp_path) -> None:
    numbers = {"best": np.float64(3.25), "iteration": np.int64(7), "done": np.bool_(True)}
    torch.save({"model": STATE, **numbers}, tmp_path / "numpy.pth")
    content = read_checkpoint(tmp_path / "numpy.pth")
    assert {key: content[key] for key in numbers} == numbers
    assert read_state_dict(tmp_path / "numpy.pth").keys() == STATE.keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value: float) -> None:
    weights = torch.ones(5)
    weights[3] = value
    torch.save({"model": {"a.weight": weights}}, tmp_path / "diverged.pth")
    with pytest.raises(ValueError, match=r"diverged\.pth: 1 of 5 numbers of a\.weight are NaN or infinite"):
        read_state_dict(tmp_path / "diverged.pth")


def test_the_mask_of_clip_is_infinite_on_purpose(tmp_path) -> None:
    torch.save({"attn_mask": torch.full((2, 2), -torch.inf)}, tmp_path / "clip.pth")
    assert torch.isinf(read_state_dict(tmp_path / "clip.pth")["attn_mask"]).all()


@pytest.mark.parametrize("size", [0, 5, 60, 400])
def test_a_truncated_file_of_safetensors_is_named(tmp_path, size: int) -> None:
    save_file({"a.weight": torch.ones(100)}, tmp_path / "whole.safetensors")
    path = tmp_path / "cut.safetensors"
    path.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:size])
    for read in (read_state_dict, lambda path: holds_prefix(path, "a.")):
        with pytest.raises(ValueError, match=r"cut\.safetensors is damaged or not a weight file .*; fetch it again"):
            read(path)


def test_other_names_than_texts_are_no_weights(tmp_path) -> None:
    torch.save({0: torch.ones(1)}, tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        read_state_dict(tmp_path / "list.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.ones(2, device="meta"),
        torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8),
    ],
)
def test_tensors_of_other_kinds_are_named(tmp_path, tensor) -> None:
    torch.save({"odd": tensor}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth"):
        read_state_dict(tmp_path / "odd.pth")


def test_views_far_larger_than_the_file_are_refused(tmp_path) -> None:
    torch.save({"a": torch.ones(1).expand(10**12)}, tmp_path / "view.pth")
    with pytest.raises(ValueError, match="far more than the file has"):
        read_state_dict(tmp_path / "view.pth")


@pytest.mark.parametrize(
    ("path", "message"),
    [("https://host/w.pth", "are an address; fetch the file"), ("a\0b.pth", "are no path"), (".", "is not a file")],
)
def test_what_is_no_file_is_said(path: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        read_state_dict(path)
