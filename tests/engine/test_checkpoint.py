"""Checkpoints: whole or absent, without the frozen CLIP, refused with another CLIP, read as data only."""

import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.files.checkpoints import CLIP_FINGERPRINT, read_checkpoint
from fcclip.weights import fingerprint, load_weights
from tests.scratch import leave_scratch
from tests.tiny import REPOSITORY, tiny_model


class Counter:
    """The least that can be checkpointed."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


@pytest.fixture(scope="module")
def model():
    return tiny_model(seed=1)


def same_clip_other_head(model):
    other = tiny_model(seed=2)
    other.backbone.load_state_dict(model.backbone.state_dict())
    return other


def test_what_is_stored(model, tmp_path):
    TrainingCheckpointer(model, str(tmp_path), counter=Counter(5)).save("model_0000009", iteration=9)
    stored = torch.load(tmp_path / "model_0000009.pth", weights_only=True)
    assert set(stored) == {"model", "counter", CLIP_FINGERPRINT, "iteration"}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(stored["model"]) == trained | {"criterion.empty_weight"}
    assert stored[CLIP_FINGERPRINT] == fingerprint(model.backbone.clip_model)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000009.pth"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000009.pth"]


def test_a_clip_that_is_trained_is_stored(tmp_path):
    model = tiny_model()
    model.backbone.clip_model.logit_scale.requires_grad_(True)
    TrainingCheckpointer(model, str(tmp_path)).save("model_final")
    stored = read_checkpoint(tmp_path / "model_final.pth")
    assert set(stored["model"]) == set(model.state_dict())
    assert stored[CLIP_FINGERPRINT] is None


def test_a_clip_that_was_tuned_is_stored_although_an_adapter_alone_is_trained(tmp_path):
    adapter = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
    model = tiny_model(MODEL__META_ARCHITECTURE="MAFT_Plus", MODEL__cdt_params=[32, 4], **adapter)
    assert {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"mask_adapter"}
    TrainingCheckpointer(model, str(tmp_path)).save("model_0")
    assert load_weights(model, tmp_path / "model_0.pth").missing == ()


def test_weights_and_states_come_back(model, tmp_path):
    TrainingCheckpointer(model, str(tmp_path), counter=Counter(5)).save("model_0000002", iteration=2)
    other, counter = same_clip_other_head(model), Counter()
    extra = TrainingCheckpointer(other, str(tmp_path), counter=counter).resume_or_load("", resume=True)
    assert counter.value == 5
    assert extra["iteration"] == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_without_resume_only_the_weights_are_taken(model, tmp_path):
    TrainingCheckpointer(model, str(tmp_path), counter=Counter(5)).save("model_final")
    other, counter = same_clip_other_head(model), Counter()
    checkpointer = TrainingCheckpointer(other, str(tmp_path / "elsewhere"), counter=counter)
    checkpointer.resume_or_load(str(tmp_path / "model_final.pth"), resume=True)
    assert counter.value == 0
    assert torch.equal(other.void_embedding.weight, model.void_embedding.weight)
    assert TrainingCheckpointer(other, "").resume_or_load("", resume=False) == {}


def test_a_training_that_began_with_a_whole_model_goes_on_with_its_clip(model, tmp_path):
    """Its checkpoints lack the CLIP, which no other file may hold."""
    torch.save({"model": model.state_dict()}, tmp_path / "whole.pth")
    TrainingCheckpointer(model, str(tmp_path)).save("model_0000002")
    other = tiny_model(seed=2)
    TrainingCheckpointer(other, str(tmp_path)).resume_or_load(str(tmp_path / "whole.pth"), resume=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_another_clip_is_refused(model, tmp_path):
    TrainingCheckpointer(model, str(tmp_path)).save("model_final")
    other = tiny_model(seed=2)
    before = other.void_embedding.weight.clone()
    with pytest.raises(ValueError, match="was trained with another CLIP"):
        TrainingCheckpointer(other, str(tmp_path)).resume_or_load("", resume=True)
    assert torch.equal(other.void_embedding.weight, before)


def test_best_weights_are_not_what_a_resume_finds(model, tmp_path):
    checkpointer = TrainingCheckpointer(model, str(tmp_path), counter=Counter(5))
    checkpointer.save("model_0000002")
    checkpointer.save_weights("model_best", best={"value": 1.0})
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_0000002.pth")
    with pytest.raises(ValueError, match='cannot be resumed: it has no "counter"'):
        checkpointer.load(str(tmp_path / "model_best.pth"))


def test_files_that_cannot_be_read_are_named(model, tmp_path):
    checkpointer = TrainingCheckpointer(model, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no weight file .*gone\.pth"):
        checkpointer.load(str(tmp_path / "gone.pth"), checkpointables=[])
    checkpointer.save("model_final")
    half = tmp_path / "half.pth"
    half.write_bytes((tmp_path / "model_final.pth").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"half\.pth is damaged"):
        checkpointer.load(str(half), checkpointables=[])
    code = tmp_path / "code.pth"
    code.write_bytes(pickle.dumps(Path(tmp_path), protocol=2))
    with pytest.raises(ValueError, match=r"code\.pth is not a plain weight file and is not loaded \(it refers to"):
        checkpointer.load(str(code), checkpointables=[])


def test_leftovers_of_killed_runs_are_removed(model, tmp_path):
    checkpointer = TrainingCheckpointer(model, str(tmp_path))
    checkpointer.save("model_0000002")
    leave_scratch(tmp_path / "model_0000005.pth")
    checkpointer.remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000002.pth"]


FULL_DISK = """
import resource, signal, sys
from fcclip.engine.checkpoint import TrainingCheckpointer
from tests.tiny import tiny_model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpointer = TrainingCheckpointer(tiny_model(), sys.argv[1])
checkpointer.save("model_0000002")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    checkpointer.save("model_0000005")
finally:  # what measures coverage writes its file at the end
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_full_disk_leaves_the_last_whole_checkpoint(tmp_path):
    """The system refuses to write more than 100 kB, as a full disk would: in a process of its own."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "model_0000005.pth could not be written" in run.stderr.splitlines()[-1]
    assert "--resume" in run.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000002.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"
    assert read_checkpoint(tmp_path / "model_0000002.pth")["model"]
