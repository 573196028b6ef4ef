from typing import Any

import pytest
import torch
from torch import Tensor

from fcclip import FCCLIP, Vocabulary
from fcclip.modeling.decoded import Decoded
from tests.seeded import seed_by_name
from tests.tiny import tiny_model
from tools.published import adapter_embeddings, as_published


@torch.no_grad()
def results_and_stages(model: FCCLIP, inputs: list[dict[str, Any]]) -> tuple[dict[str, Any], Decoded, Tensor]:
    """The results of an image, what was decoded of it, and its class logits."""
    (encoded,) = model.encode(inputs)
    logits = model.classify(encoded.decoded, model.vocabularies.test(model.device))
    return model(inputs)[0], encoded.decoded, logits


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_savings_change_no_result(kind: str) -> None:
    """The model against the published computation on the same weights, from the backbone's features to the results."""
    model = tiny_model(kind, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.1, TEST__DETECTIONS_PER_IMAGE=20)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string("person,people; sky=stuff; traffic cone,cone,pylon"))
    image = torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(0)).float()
    inputs = [{"image": image, "height": 61, "width": 80}]
    found, decoded, logits = results_and_stages(model, inputs)
    with as_published(model):
        expected, published_decoded, published_logits = results_and_stages(model, inputs)
    _, again, _ = results_and_stages(model, inputs)

    torch.testing.assert_close(decoded.mask_logits, published_decoded.mask_logits, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(logits, published_logits, atol=2e-4, rtol=1e-4)
    assert torch.equal(decoded.mask_logits, again.mask_logits)  # the block leaves nothing behind
    torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], atol=1e-4, rtol=1e-4)
    assert (found["panoptic_seg"][0] != expected["panoptic_seg"][0]).sum() <= 5
    assert found["panoptic_seg"][1] == expected["panoptic_seg"][1]
    assert len(found["panoptic_seg"][1]) > 1
    torch.testing.assert_close(found["instances"].scores, expected["instances"].scores, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_savings_of_the_adapter_change_no_embedding() -> None:
    model = tiny_model(MODEL__MASK_ADAPTER__NAME="MASKAdapterHead", MODEL__MASK_ADAPTER__NUM_CHANNELS=16)
    seed_by_name(model)
    dense, places, masks = torch.randn(1, 64, 3, 4), torch.randn(1, 32, 3, 4), torch.randn(1, 9, 24, 32)
    masks[:, 4:7] = -3
    adapter, embed = model.mask_adapter, model.backbone.embed_pooled
    expected = adapter_embeddings(adapter, dense, places, masks, embed, masks_at_once=4)
    torch.testing.assert_close(adapter.embed_masks(dense, places, masks, embed), expected, atol=1e-5, rtol=1e-4)
