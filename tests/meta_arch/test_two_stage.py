import torch
from detectron2.modeling import build_model

from fcclip.meta_arch.two_stage import TwoStage, crop_masks
from tests.tiny import tiny_cfg, tiny_model


def test_crops_show_the_mask_and_nothing_else():
    image = torch.rand(3, 40, 60) + 1
    masks = torch.zeros(3, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 30:50] = True
    masks[1] = True
    crops = crop_masks(image, masks, side=24)
    assert crops.shape == (3, 3, 24, 24)
    shown = (crops[0, 0] > 0.5).nonzero()
    # The box is 20 wide, the crop 24, so that a pixel of the image is a pixel of the crop.
    assert shown.min(dim=0).values.tolist() == [7, 2]
    assert shown.max(dim=0).values.tolist() == [16, 21]
    assert torch.allclose(crops[0, :, 7:17, 2:22], image[:, 10:20, 30:50], atol=1e-5)
    assert crops[1].mean() > 0.5
    assert not crops[2].any()


def test_it_differs_from_fcclip_in_the_out_of_vocabulary_classifier_alone():
    one_stage = tiny_model()
    torch.manual_seed(0)
    two_stage = build_model(tiny_cfg(MODEL__META_ARCHITECTURE="TwoStage")).eval()
    assert isinstance(two_stage, TwoStage)
    assert two_stage.state_dict().keys() == one_stage.state_dict().keys()
    image = {"image": torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8), "height": 64, "width": 96}
    for exponent, alike in ((0.0, True), (1.0, False)):
        scores = []
        for model in (one_stage, two_stage):
            model.geometric_ensemble_alpha = model.geometric_ensemble_beta = exponent
            scores.append(model([image])[0]["sem_seg"])
        assert torch.equal(*scores) == alike
