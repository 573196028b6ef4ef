import pytest
import torch

from fcclip import Vocabulary
from tests.seeded import seed_by_name
from tests.tiny import tiny_model
from tools.published import as_published


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_savings_change_no_result(kind: str) -> None:
    """The model against the published computation on the same weights, from the backbone's features to the results."""
    model = tiny_model(kind, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.1, TEST__DETECTIONS_PER_IMAGE=20)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string("person,people; sky=stuff; traffic cone,cone,pylon"))
    image = torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(0)).float()
    captured = []
    model.sem_seg_head.register_forward_hook(lambda module, inputs, outputs: captured.append(outputs))
    inputs = [{"image": image, "height": 61, "width": 80}]
    (found,) = model(inputs)
    with as_published(model), torch.no_grad():
        (expected,) = model(inputs)
    (again,) = model(inputs)

    for name in ("pred_logits", "pred_masks"):
        torch.testing.assert_close(captured[0][name], captured[1][name], atol=2e-4, rtol=1e-4)
        assert torch.equal(captured[0][name], captured[2][name])  # the block leaves nothing behind
    torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], atol=1e-4, rtol=1e-4)
    assert (found["panoptic_seg"][0] != expected["panoptic_seg"][0]).sum() <= 5
    assert found["panoptic_seg"][1] == expected["panoptic_seg"][1]
    assert len(found["panoptic_seg"][1]) > 1
    torch.testing.assert_close(found["instances"].scores, expected["instances"].scores, atol=1e-5, rtol=1e-4)
    assert torch.equal(found["sem_seg"], again["sem_seg"])
