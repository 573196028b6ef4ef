"""The published system's recorded outputs, for a ResNet-50 CLIP with weights seeded by tensor name."""

from typing import Any

import pytest
import torch
from detectron2.modeling import build_model

from fcclip import FCCLIP, get_cfg
from fcclip.modeling.decoded import QueryMasks
from tests.parity.rn50 import seeding
from tests.shared import SHARED, needs_shared
from tests.tiny import PUBLISHED_CONFIGS

pytestmark = needs_shared


def run(model: FCCLIP, reference: dict[str, Any]) -> dict[str, Any]:
    return model([{"image": reference["image"], "height": 200, "width": 260}])[0]


def compare_results(result: dict[str, Any], expected: dict[str, Any]) -> None:
    # The recorded maps are half precision: 1e-3 relative.
    torch.testing.assert_close(result["sem_seg"], expected["sem_seg"].float(), rtol=1e-3, atol=1e-3)
    panoptic_map, segments = result["panoptic_seg"]
    assert (panoptic_map != expected["panoptic_seg"]).sum() <= 5
    assert segments == expected["segments_info"]
    instances = result["instances"]
    order, expected_order = instances.scores.argsort(), expected["scores"].argsort()
    torch.testing.assert_close(instances.scores[order], expected["scores"][expected_order], atol=1e-5, rtol=1e-4)
    assert torch.equal(instances.pred_classes[order], expected["classes"][expected_order])
    area = instances.pred_masks.flatten(1).sum(1)[order]
    assert ((area - expected["mask_area"][expected_order]).abs() <= 5).all()


def test_state_dict_is_the_published_one(model, reference) -> None:
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert list(state.items()) == [(name, tuple(shape)) for name, shape in reference["keys"].items()]


def test_text_classifier_and_seen_classes(model, reference) -> None:
    text = model.vocabularies.test(model.device).text
    torch.testing.assert_close(text.embeddings, reference["text"], atol=1e-5, rtol=1e-4)
    assert [len(category.names) for category in model.vocabulary.categories] == reference["num_templates"]
    assert torch.equal(model.vocabularies.test(model.device).seen.long(), reference["overlap"])


def test_head(model, reference, monkeypatch) -> None:
    captured: dict[str, torch.Tensor] = {}
    decode, classify = model.sem_seg_head.decode, model.sem_seg_head.classify

    def keep_masks(*arguments: Any) -> Any:
        masks = decode(*arguments)
        captured["pred_masks"] = masks.logits
        return masks

    def keep_logits(*arguments: Any) -> Any:
        captured["pred_logits"] = classify(*arguments)
        return captured["pred_logits"]

    monkeypatch.setattr(model.sem_seg_head, "decode", keep_masks)
    monkeypatch.setattr(model.sem_seg_head, "classify", keep_logits)
    run(model, reference)
    largest = reference["pred_logits"].abs().max().item()
    torch.testing.assert_close(captured["pred_logits"], reference["pred_logits"].float(), rtol=0, atol=1e-4 * largest)
    # Recorded in half precision.
    torch.testing.assert_close(captured["pred_masks"], reference["pred_masks"].float(), rtol=1e-3, atol=1e-3)


def test_results(model, reference) -> None:
    compare_results(run(model, reference), reference)


def test_results_of_many_segments(model, reference, monkeypatch) -> None:
    seeded = seeding()
    masks = QueryMasks(seeded.blob_masks(250, 56, 72), torch.zeros(1, 250, 1), torch.zeros(1, 250, 1))
    monkeypatch.setattr(model.sem_seg_head, "decode", lambda *_: masks)
    monkeypatch.setattr(model.sem_seg_head, "classify", lambda *_: seeded.blob_logits(250, 20))
    monkeypatch.setattr(model, "overlap_threshold", 0.5)
    result = run(model, reference)
    assert len(result["panoptic_seg"][1]) > 5
    compare_results(result, reference["blob"])


@pytest.mark.parametrize(("model_name", "suffix"), [("convnext_l", ""), ("rn50", "_r50")])
def test_published_names_and_shapes(model_name: str, suffix: str) -> None:
    """Every tensor of both published models, by name, shape, type and order."""
    cfg = get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS / f"fcclip_convnext_large_eval_ade20k{suffix}.yaml"))
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
    cfg.MODEL.DEVICE = "cpu"
    lines = (SHARED / "spec" / f"fcclip_keys_{model_name}.txt").read_text().splitlines()
    state = build_model(cfg).state_dict()
    found = [[key, str(tuple(tensor.shape)), str(tensor.dtype)[6:]] for key, tensor in state.items()]
    assert found == [line.split("\t") for line in lines if line.strip()]
