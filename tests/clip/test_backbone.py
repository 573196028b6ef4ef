"""The image tower in half precision, in training and nowhere else."""

import pytest
import torch

from fcclip.speed.acceleration import accelerate_training
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model


def tower_model(kind="convnext", dtype="bfloat16"):
    model = tiny_model(kind)
    seed_by_name(model)
    accelerate_training(model, tiny_cfg(kind, MODEL__FC_CLIP__TRAINING_TOWER_DTYPE=dtype))
    return model


def images(seed=0):
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_half_precision_features_are_near(kind) -> None:
    backbone = tower_model(kind).backbone
    exact, near = backbone(images()), backbone.training_features(images())
    assert near.keys() == exact.keys()
    for name, features in near.items():
        assert features.dtype == torch.bfloat16
        assert features.is_contiguous()
        assert not features.requires_grad
        assert 0 < (features - exact[name]).norm() < 0.05 * exact[name].norm(), name


def test_the_model_itself_keeps_its_weights_and_results() -> None:
    model = tower_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    results = model([{"image": images()[0]}])[0]["sem_seg"]
    model.backbone.training_features(images())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(model([{"image": images()[0]}])[0]["sem_seg"], results)


def test_float32_is_the_plain_tower_and_the_default() -> None:
    assert tiny_cfg().MODEL.FC_CLIP.TRAINING_TOWER_DTYPE == "float32"
    backbone = tower_model(dtype="float32").backbone
    exact = backbone(images())
    assert all(torch.equal(x, exact[name]) for name, x in backbone.training_features(images()).items())


def test_loaded_weights_are_converted_again() -> None:
    model = tower_model()
    old = model.backbone.training_features(images())["res5"]
    changed = {name: 1.1 * x if x.is_floating_point() else x for name, x in model.state_dict().items()}
    model.load_state_dict(changed)
    accelerate_training(model, tiny_cfg(MODEL__FC_CLIP__TRAINING_TOWER_DTYPE="bfloat16"))
    new = model.backbone.training_features(images())["res5"]
    exact = model.backbone(images())["res5"]
    assert (new - exact).norm() < 0.05 * exact.norm()
    assert (old - exact).norm() > 0.05 * exact.norm()


def test_autocast_to_another_type_does_not_reach_the_tower() -> None:
    backbone = tower_model().backbone
    alone = backbone.training_features(images())["res5"]
    with torch.autocast("cpu", dtype=torch.float16):
        under_autocast = backbone.training_features(images())["res5"]
    assert under_autocast.dtype == torch.bfloat16
    assert torch.equal(under_autocast, alone)


def test_only_the_convolutions_are_copied() -> None:
    backbone = tower_model().backbone
    backbone.training_features(images())
    own, copied = backbone.tower.visual, backbone.training_tower.original.visual
    assert copied.head.mlp.fc1.weight is own.head.mlp.fc1.weight
    assert copied.trunk.stem[0].weight is not own.trunk.stem[0].weight


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(ValueError, match='TRAINING_TOWER_DTYPE is "half"; choose one of float32, bfloat16, float16'):
        tower_model(dtype="half")


def test_the_published_entry_point_pools_as_its_tower_does() -> None:
    convnext, resnet = tiny_model("convnext").backbone, tiny_model("resnet").backbone
    width = convnext.tower.channels["res5"]
    pooled = torch.randn(2, 3, width)
    assert torch.equal(convnext.visual_prediction_forward(pooled), convnext.embed_pooled(pooled))
    dense, masks = torch.randn(1, resnet.tower.channels["res5"], 3, 4), torch.randn(1, 5, 3, 4)
    assert torch.equal(resnet.visual_prediction_forward(dense, masks), resnet.embed_masks(dense, masks))
    with pytest.raises(ValueError, match=r"pools by attention: pass the mask logits \(B, Q, h, w\) as well"):
        resnet.visual_prediction_forward(dense)
