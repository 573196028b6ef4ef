"""The recorded outputs of Mask-Adapter, MAFT+ and OVRCOAT, for a ConvNeXt-B CLIP with weights seeded by tensor name.

The CLIP and its text rows are the same for all of them, and are made once.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from detectron2.structures import Instances
from torch import Tensor

from fcclip import FCCLIP
from fcclip.clip import base
from fcclip.clip.loading import LoadedClip, load_clip
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.modeling.decoded import QueryMasks
from tests.parity.family import DROPPED, recipe, recorded, seeded_model
from tests.shared import needs_shared

pytestmark = needs_shared

SYSTEMS = ["mask_adapter_fcclip_base", "mask_adapter_maft_base", "maft_plus_base", "ovrcoat_base"]
FLIPPED_ROWS = 4  # of queries whose mask has a pixel within rounding of a threshold


@pytest.fixture(scope="module")
def clip() -> Iterator[LoadedClip]:
    """The one CLIP of all models."""
    loaded = load_clip("convnext_base_w_320", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "load_clip", lambda *_: loaded)
        yield loaded


@pytest.fixture(scope="module")
def classes(clip) -> EncodedVocabulary:
    """The classes of all recordings, encoded; the CLIP has its weights from then on."""
    model = seeded_model(recorded("maft_plus_base"))
    return model.vocabularies.test(model.device)


@pytest.fixture(scope="module", params=SYSTEMS)
def reference(request) -> dict[str, Any]:
    return recorded(request.param)


@pytest.fixture(scope="module")
def model(reference, classes) -> FCCLIP:
    model = seeded_model(reference, clip_is_seeded=True)
    model.vocabularies.ask_for(classes)
    return model


def differing_rows(found: Tensor, expected: Tensor) -> int:
    """Rows with a difference above 1e-4 of the largest number."""
    return int(((found - expected).abs().amax(dim=1) > 1e-4 * expected.abs().max()).sum())


def compare(model: FCCLIP, classes: EncodedVocabulary, reference: dict[str, Any], part: str) -> None:
    expected, allowed = reference[part], FLIPPED_ROWS if part == "network" else 0
    inputs = {"image": reference["image"].float(), "height": reference["height"], "width": reference["width"]}
    with torch.no_grad():
        (encoded,) = model.encode([inputs])
        decoded = encoded.decoded
        class_logits = model.classify(decoded, classes)[0]
        text = model.text_of_images(model._with_void(classes), decoded.places).embeddings
        found = model.answer(encoded, classes)
    assert differing_rows(decoded.clip_embeddings[0], expected["embeddings"]) <= allowed
    assert differing_rows(class_logits, expected["class_logits"]) <= allowed
    half = {"rtol": 1e-3, "atol": 1e-3}  # recorded in half precision
    scores, wanted = found["sem_seg"][:, ::2, ::2], expected["sem_seg_stride2"].float()
    torch.testing.assert_close(scores / wanted.max(), wanted / wanted.max(), **half)
    if "cdt_text" in expected:
        torch.testing.assert_close(text[0], expected["cdt_text"], atol=1e-4, rtol=1e-4)
        features, size = expected["cdt_features"].float(), expected["cdt_features"].float().abs().max()
        torch.testing.assert_close(decoded.places[0] / size, features / size, **half)
    if "panoptic_seg" in expected:
        panoptic_map, segments = found["panoptic_seg"]
        assert segments == expected["segments_info"]
        assert (panoptic_map != expected["panoptic_seg"]).sum() <= 20
    if "scores" in expected:
        scores, wanted = found["instances"].scores.sort().values, expected["scores"].sort().values
        torch.testing.assert_close(scores, wanted, rtol=1e-3, atol=1e-5)


def test_names_and_shapes(model, reference) -> None:
    found = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if not key.startswith(DROPPED)}
    expected = {key: tuple(shape) for key, shape in reference["keys"].items() if not key.startswith(DROPPED)}
    assert found == expected


def test_text_and_seen_classes(classes, reference) -> None:
    torch.testing.assert_close(classes.text.embeddings, reference["text"], atol=1e-5, rtol=1e-4)
    assert torch.equal(classes.seen.long(), reference["overlap"])


def test_results(model, classes, reference) -> None:
    compare(model, classes, reference, "network")


def test_results_of_many_segments(model, classes, reference, monkeypatch) -> None:
    queries, (height, width) = reference["config"]["queries"], reference["image"].shape[1:]
    masks = QueryMasks(
        recipe().blob_masks(queries, height // 4, width // 4), torch.zeros(1, queries, 1), torch.zeros(1, queries, 1)
    )
    monkeypatch.setattr(model.sem_seg_head, "decode", lambda *_: masks)
    monkeypatch.setattr(model.sem_seg_head, "classify", lambda *_: recipe().blob_logits(queries, 20))
    monkeypatch.setattr(model, "overlap_threshold", reference["config"]["blob_overlap_threshold"])
    compare(model, classes, reference, "blob")


def check_training_step(model: FCCLIP, reference: dict[str, Any]) -> None:
    """One step: the losses, which parameters are trained, and how long their gradients are."""
    height, width = reference["image"].shape[1:]
    truth = Instances((height, width))
    truth.gt_masks, truth.gt_classes = recipe().ground_truth(height, width)
    expected = reference["training"]
    model.zero_grad()
    model.train()
    model.backbone.eval()  # as recorded: nothing is dropped
    try:
        losses = model([{"image": reference["image"].float(), "instances": truth}])
    finally:
        model.eval()
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected["losses"], rel=1e-4, abs=1e-6)
    sum(losses.values()).backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sorted(trained) == sorted(expected["trainable"])
    assert sum(p.grad is not None for p in trained.values()) == expected["with_gradient"]
    norms = {name: trained[name].grad.norm().item() for name in expected["gradient_norms"]}
    assert norms == pytest.approx(expected["gradient_norms"], rel=2e-3, abs=1e-6)


@pytest.mark.parametrize("reference", ["maft_plus_base", "ovrcoat_base"], indirect=True)
def test_training_of_clip(model, reference, monkeypatch) -> None:
    height, width = reference["image"].shape[1:]
    queries = reference["config"]["queries"]
    outputs = {
        "pred_logits": recipe().blob_logits(queries, 5),
        "pred_masks": recipe().near_masks(queries, height, width),
        "aux_outputs": [],
    }
    monkeypatch.setattr(model.sem_seg_head, "forward", lambda *_: outputs)
    is_maft = reference["system"] == "maft_plus"
    if is_maft:
        monkeypatch.setattr(model.criterion, "forward", lambda *_: {})
    teacher = load_clip("convnext_base_w_320", "").model.visual
    prefix = f"{'backbone_t' if is_maft else 'frozen_backbone'}.clip_model.visual."
    teacher.load_state_dict({k: recipe().seeded_tensor(prefix + k, v) for k, v in teacher.state_dict().items()})
    monkeypatch.setattr(model.teacher, "_visual", teacher.eval())
    check_training_step(model, reference)


@pytest.mark.parametrize("reference", ["mask_adapter_fcclip_base", "mask_adapter_maft_base"], indirect=True)
def test_training_of_an_adapter(model, reference, monkeypatch) -> None:
    height, width = reference["image"].shape[1:]
    masks = QueryMasks(
        recipe().near_masks(reference["config"]["queries"], height, width), torch.zeros(0), torch.zeros(0)
    )
    monkeypatch.setattr(model.sem_seg_head, "decode", lambda *_: masks)
    check_training_step(model, reference)
