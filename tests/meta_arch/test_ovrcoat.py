import torch

from fcclip.inference.instance import InstanceInference
from tests.seeded import seed_by_name
from tests.tiny import tiny_model

IMAGE = {"image": torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0)).float()}


def results(**overrides):
    model = tiny_model(**overrides)
    seed_by_name(model)
    return model([IMAGE])[0]


def test_with_no_trust_and_plain_scores_it_is_fcclip() -> None:
    plain = results()
    ours = results(MODEL__META_ARCHITECTURE="OVRCOAT", MODEL__OVRCOAT__INSTANCES_BY_LOGIT=False)
    assert torch.equal(plain["sem_seg"], ours["sem_seg"])
    assert torch.equal(plain["panoptic_seg"][0], ours["panoptic_seg"][0])
    assert torch.equal(plain["instances"].scores, ours["instances"].scores)


def test_trust_in_clip_takes_from_void_in_any_fcclip() -> None:
    plain, trusting = results(), results(MODEL__OVRCOAT__CLIP_TRUST_WEIGHT=0.5)
    published = results(MODEL__META_ARCHITECTURE="OVRCOAT", MODEL__OVRCOAT__CLIP_TRUST_WEIGHT=0.5)
    assert (trusting["sem_seg"].sum(dim=0) > plain["sem_seg"].sum(dim=0)).all()
    assert torch.equal(trusting["sem_seg"], published["sem_seg"])


def test_instances_are_scored_by_the_mean_logit_inside() -> None:
    class_logits, mask = torch.tensor([[2.0, 0.0]]), torch.tensor([[[3.0, 5.0], [-2.0, -9.0]]])
    inference = InstanceInference(class_logits, (2, 2), 1, by_logit=True)
    inference.update(0, 2, mask, mask.sigmoid())
    expected = 4.0 * class_logits.softmax(dim=-1)[0, 0]
    torch.testing.assert_close(inference.result().scores, expected[None])
