"""MaskCLIP, which is not trained, and MaskCLIP+, which learns from it."""

import pytest
import torch

from fcclip import load_weights
from fcclip.clip.vit_tokens import joint_tokens
from tests.zero_shot import UNSEEN, zero_shot_model

PLAIN = {
    "MODEL__ZERO_SHOT__ENCODER": "fixed",
    "MODEL__ZERO_SHOT__LOSS": "softmax",
    "MODEL__ZERO_SHOT__SEEN_PENALTY": 0.0,
    "MODEL__ZERO_SHOT__CROP_SIZE": 64,
}
TEXT = torch.nn.functional.normalize(torch.randn(20, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_cosine_of_patches_and_names() -> None:
    model = zero_shot_model("DenseCLIP", **PLAIN)
    logits = model.classify(model.decode(IMAGES), TEXT)
    patches = model.backbone.value_patches(IMAGES)
    assert logits[1, 3, 2, 0].item() == pytest.approx(100 * (patches[1, :, 2, 0] @ TEXT[3]).item(), rel=1e-4)
    assert logits.abs().max() <= 100.001


@torch.no_grad()
def test_the_tokens_of_plain_clip_may_be_compared_instead() -> None:
    model = zero_shot_model("DenseCLIP", **PLAIN, MODEL__ZERO_SHOT__DENSE_PATCHES="tokens")
    tokens, _ = joint_tokens(model.backbone.clip_model.visual, IMAGES)
    width = model.classify(model.decode(IMAGES), TEXT).shape[-1]
    expected = 100 * torch.nn.functional.normalize(tokens[1, 1 + 2 * width], dim=-1) @ TEXT[3]
    assert model.classify(model.decode(IMAGES), TEXT)[1, 3, 2, 0].item() == pytest.approx(expected.item(), rel=1e-4)


def test_an_unknown_kind_of_patches_is_an_error() -> None:
    with pytest.raises(ValueError, match='DENSE_PATCHES is "keys"; choose one of values, tokens'):
        zero_shot_model("DenseCLIP", **PLAIN, MODEL__ZERO_SHOT__DENSE_PATCHES="keys")


def test_nothing_is_to_be_trained() -> None:
    model = zero_shot_model("DenseCLIP", **PLAIN)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_it_runs_with_a_loaded_clip_alone(tmp_path) -> None:
    state = zero_shot_model("DenseCLIP", **PLAIN).backbone.clip_model.state_dict()
    # In the file the positions are those of the CLIP's own training.
    positions = state["visual.positional_embedding"]
    state["visual.positional_embedding"] = positions[:1].repeat(65, 1)
    torch.save(state, tmp_path / "clip.pt")
    settings = {
        "MODEL__FC_CLIP__CLIP_PRETRAINED_WEIGHTS": str(tmp_path / "clip.pt"),
        "MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS": False,
    }
    model = zero_shot_model("DenseCLIP", **PLAIN, **settings)
    assert not model.uses_random_weights
    assert model([{"image": torch.zeros(3, 64, 64)}])[0]["sem_seg"].shape == (20, 64, 64)
    assert zero_shot_model("DenseCLIPPlus", **PLAIN, **settings).uses_random_weights


@torch.no_grad()
def test_the_student_starts_as_the_teacher() -> None:
    teacher, student = (zero_shot_model(name, **PLAIN) for name in ("DenseCLIP", "DenseCLIPPlus"))
    student.backbone.load_state_dict(teacher.backbone.state_dict())
    torch.testing.assert_close(
        student.classify(student.decode(IMAGES), TEXT), teacher.classify(teacher.decode(IMAGES), TEXT)
    )


def test_the_teacher_guesses_first() -> None:
    settings = {"MODEL__ZERO_SHOT__SETTING": "transductive", "MODEL__ZERO_SHOT__GUIDED_ITERATIONS": 2}
    student = zero_shot_model("DenseCLIPPlus", **PLAIN, **settings).train()
    used: list[torch.Tensor] = []
    student.criterion.register_forward_hook(lambda module, inputs, output: used.append(inputs[1]))
    labels = torch.full((2, 64, 64), UNSEEN[0])
    labels[:, :10] = 255
    with torch.no_grad():  # a student that disagrees with its teacher everywhere
        student.refine[-1].bias.normal_(std=10.0, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        student.losses_of_crops(IMAGES, labels)
    assert student.steps.item() == 3
    assert torch.equal(used[0], used[1])
    assert not torch.equal(used[1], used[2])
    for guess in used:
        assert (guess[:, :10] == 255).all()
        assert set(guess[:, 10:].unique().tolist()) <= set(UNSEEN)


def test_training_is_saved_and_loaded(tmp_path) -> None:
    student = zero_shot_model("DenseCLIPPlus", **PLAIN).train()
    sum(student.losses_of_crops(IMAGES, torch.zeros(2, 64, 64).long()).values()).backward()
    assert student.refine[-1].weight.grad.abs().sum() > 0
    torch.save({"model": student.state_dict()}, tmp_path / "model.pth")
    other = zero_shot_model("DenseCLIPPlus", seed=1, **PLAIN)
    load_weights(other, tmp_path / "model.pth")
    assert other.steps.item() == 1
