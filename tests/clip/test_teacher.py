import torch

from fcclip.clip.teacher import Teacher
from tests.tiny import CLIP_DESCRIPTIONS

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_teacher_is_the_same_each_time_and_changes_no_random_number() -> None:
    name = str(CLIP_DESCRIPTIONS["convnext"])
    torch.manual_seed(3)
    features = [Teacher(name, "").features(IMAGES) for _ in range(2)]
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))
    assert torch.equal(*features)
    assert features[0].shape[2:] == (2, 2)
    assert not features[0].requires_grad
