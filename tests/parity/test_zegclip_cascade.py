"""The published systems' recorded outputs, losses and gradients, for tiny models with weights drawn by tensor name."""

import importlib.util
import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import MetadataCatalog
from torch import nn

from fcclip.clip.patches import resize_positions
from fcclip.evaluation.metrics.semantic import semantic_metrics
from fcclip.inference.sliding import Windows, resize_scores
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.mmseg.keys import to_ours, to_published
from fcclip.modeling.zero_shot.loss import pixel_accuracy
from tests.shared import SHARED, needs_shared
from tests.zero_shot import scores_of, zero_shot_model

pytestmark = needs_shared

FOLDER = SHARED / "parity" / "zegclip_cascade"
SYSTEMS = {"zegclip": "ZegCLIP", "cascade": "CascadeCLIP"}
SETTINGS = [
    ("zegclip", "voc_inductive"),
    ("zegclip", "voc_transductive"),
    ("zegclip", "voc_fully"),
    ("cascade", "voc_inductive"),
    ("cascade", "voc_transductive"),
]
OURS = {"voc_inductive": "inductive", "voc_transductive": "transductive", "voc_fully": "fully_supervised"}


def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("recipe", FOLDER / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=list(SYSTEMS))
def system(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def references() -> dict[str, dict[str, Any]]:
    return {name: torch.load(FOLDER / f"{name}_tiny_reference.pt", weights_only=True) for name in SYSTEMS}


def build(system: str, setting: str) -> ZeroShotModel:
    """The tiny model with the recipe's weights, and without dropout."""
    ours = OURS[setting]
    model = zero_shot_model(
        SYSTEMS[system],
        MODEL__ZERO_SHOT__SETTING=ours,
        MODEL__ZERO_SHOT__SEEN_PENALTY=0.0 if ours == "transductive" else 0.1,
        MODEL__ZERO_SHOT__TEXT_EMBEDDINGS=str(FOLDER / "tiny_text_20x64_f16.npy"),
    )
    state = to_ours(recipe().build_state_dict(FOLDER / f"{system}_tiny_state_dict_shapes.json"))
    del state["criterion.empty_weight"]
    keys = model.load_state_dict(state, strict=False)
    assert keys.unexpected_keys == []
    assert keys.missing_keys == ["criterion.empty_weight"]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture(scope="module")
def inductive(system) -> ZeroShotModel:
    return build(system, "voc_inductive").eval()


@pytest.fixture(scope="module")
def reference(system, references) -> dict[str, Any]:
    return references[system]


@torch.no_grad()
def test_text_embeddings_are_the_given_file(inductive, reference) -> None:
    text = inductive.vocabularies.test(inductive.device).text
    assert torch.equal(text.embeddings, reference["input"]["text_f16"].float())


@torch.no_grad()
def test_every_stage(system, inductive, reference) -> None:
    """Tokens of every block, features, queries and attention scores."""
    stages, images = reference["voc_inductive"]["stages"], reference["input"]["x"]
    backbone = inductive.backbone
    captured: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, outputs: captured.setdefault(name, []).append(outputs)

    decoders = [inductive.decoder] if system == "zegclip" else list(inductive.decoders)
    descriptors = [inductive.descriptor] if system == "zegclip" else list(inductive.descriptors)
    hooks = [
        layer.register_forward_hook(keep(f"block{index:02d}"))
        for index, layer in enumerate(backbone.clip_model.visual.transformer.resblocks)
    ]
    for index, (decoder, descriptor) in enumerate(zip(decoders, descriptors, strict=True)):
        hooks.append(descriptor.register_forward_hook(keep(f"queries{index}")))
        hooks += [layer.register_forward_hook(keep(f"layers{index}")) for layer in decoder.layers]
    features = backbone(images)
    inductive.classify(inductive.decode(images), reference["input"]["text_f16"].float())
    for hook in hooks:
        hook.remove()

    for index in range(12):
        expected = stages[f"vit.block{index:02d}"].transpose(0, 1)
        torch.testing.assert_close(captured[f"block{index:02d}"][0], expected, atol=1e-4, rtol=0)
    maps = [features.patches[block] for block in sorted(features.patches)]
    for found, expected in zip(maps, stages["vit.features"], strict=True):
        torch.testing.assert_close(found, expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(features.image, stages["vit.cls"], atol=5e-6, rtol=0)
    for index in range(len(decoders)):
        name = "decoder_1" if system == "zegclip" else f"cascade_decoders.{index}"
        projected = "head.q_proj" if system == "zegclip" else f"head.q_projs.{index}"
        torch.testing.assert_close(captured[f"queries{index}"][0], stages[projected], atol=1e-5, rtol=1e-5)
        for layer, (queries, scores) in enumerate(captured[f"layers{index}"]):
            torch.testing.assert_close(
                queries.transpose(0, 1), stages[f"head.{name}.queries"][layer], atol=1e-5, rtol=1e-5
            )
            torch.testing.assert_close(scores, stages[f"head.{name}.attn"][layer], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
@torch.no_grad()
def test_scores_of_a_crop(references, name, setting) -> None:
    model, reference = build(name, setting).eval(), references[name]
    scores = scores_of(model, reference["input"]["x"])
    torch.testing.assert_close(scores, reference[setting]["encode_decode"], atol=5e-6, rtol=0)


@torch.no_grad()
def test_scores_of_another_size(inductive, reference) -> None:
    """Positions are resized. The published code upsamples to its training size first; here that is done once."""
    images = reference["input"]["x_big"]
    logits = inductive.classify(inductive.decode(images), reference["input"]["text_f16"].float())
    logits = F.interpolate(logits, size=(128, 128), mode="bilinear", align_corners=False)
    scores = logits.sigmoid() - 0.1 * inductive.vocabularies.test(inductive.device).seen[:, None, None]
    scores = F.interpolate(scores, size=(160, 160), mode="bilinear", align_corners=False)
    torch.testing.assert_close(scores, reference["voc_inductive"]["encode_decode_big"], atol=5e-6, rtol=0)


@torch.no_grad()
def test_sliding_window(inductive, reference) -> None:
    expected = reference["voc_inductive"]
    image = reference["input"]["x_slide"][0]
    windows = Windows.of(image, 128, 106)
    scores = windows.average(scores_of(inductive, crops) for crops in windows.crops(image))
    torch.testing.assert_close(scores, expected["slide_inference_norescale"][0], atol=5e-6, rtol=0)
    resized = resize_scores(scores, (120, 161), 10_000)
    torch.testing.assert_close(resized, expected["slide_inference_rescale_120x161"][0], atol=5e-6, rtol=0)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
@torch.no_grad()
def test_labels_of_an_image(references, name, setting) -> None:
    """Through the interface of Detectron2, from pixels to the label map."""
    model, reference = build(name, setting).eval(), references[name]
    pixels = reference["input"]["x_slide"][0] * model.pixel_std + model.pixel_mean
    with model.labels_only():
        (result,) = model([{"image": pixels, "height": 120, "width": 161}])
    expected = reference[setting]["simple_test_argmax_120x161"][0]
    assert (result["sem_seg"] != expected).sum() <= 2


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_training(references, name, setting) -> None:
    """Labels, losses and gradients."""
    model, reference = build(name, setting).train(), references[name]
    images, labels = reference["input"]["x"], reference["input"]["gt"][:, 0].long()
    expected = reference[setting]["train"]
    classifier = model.vocabularies.train(model.device).text
    logits = model.class_logits(model.decode(images), classifier, images.shape[-2:])
    used = model.training_labels(labels, logits)
    assert (used != expected["gt_used"][:, 0]).sum() <= 2
    if "pred_masks" in expected:
        torch.testing.assert_close(logits, expected["pred_masks"], atol=1e-5, rtol=1e-5)
    losses = model.losses_of_crops(images, labels)
    compare_losses(losses, expected["losses"])
    assert pixel_accuracy(logits, used).item() == pytest.approx(expected["losses"]["decode.acc_seg"], abs=0.01)
    sum(losses.values()).backward()
    compare_gradients(model, expected)


def compare_losses(losses: dict[str, torch.Tensor], expected: dict[str, float]) -> None:
    for name in ("loss_mask", "loss_dice"):
        assert losses[name].item() == pytest.approx(expected[f"decode.{name}"], rel=1e-5)


def compare_gradients(model: ZeroShotModel, expected: dict[str, Any]) -> None:
    gradients = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.requires_grad}
    without = {key for key, gradient in gradients.items() if gradient is None}
    assert without == set(to_ours(dict.fromkeys(expected["trainable_without_grad"]))) - {
        "backbone.clip_model.logit_scale"
    }
    recorded = to_ours(expected.get("grads") or expected["grad_norms"])
    del recorded["backbone.clip_model.logit_scale"]
    assert set(recorded) == set(gradients) - without
    for key, reference in recorded.items():
        gradient = gradients[key]
        assert gradient is not None
        if isinstance(reference, torch.Tensor) and reference.ndim:
            atol = max(1e-4 * reference.abs().max().item(), 1e-7)
            torch.testing.assert_close(
                gradient, reference, atol=atol, rtol=0, msg=lambda text, key=key: f"{key}: {text}"
            )
        else:
            assert gradient.norm().item() == pytest.approx(float(reference), rel=1e-4, abs=1e-6), key


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
@torch.no_grad()
def test_losses_with_ignored_images(references, name, setting) -> None:
    model, reference = build(name, setting).train(), references[name]
    half = reference["input"]["gt_half"][:, 0].long()
    images = reference["input"]["x"]
    compare_losses(model.losses_of_crops(images, half), reference[setting]["train_half_ignored"]["losses"])
    ignored = torch.full_like(half, 255)
    compare_losses(model.losses_of_crops(images, ignored), reference[setting]["train_all_ignored"]["losses"])


def test_encoded_names(system, inductive) -> None:
    """CLIP's text tower with the single prompt."""
    recorded = torch.load(FOLDER / f"{system}_tiny_text_encoder.pt", weights_only=True)
    names = next(value for value in recorded.values() if isinstance(value, list))
    embedder = inductive.backbone.name_embedder(False, ("a photo of a {}",))
    assert torch.equal(inductive.backbone.tokenize_text([f"a photo of a {name}" for name in names]), recorded["tokens"])
    torch.testing.assert_close(embedder.embed(names), recorded["embedding"].float(), atol=1e-5, rtol=1e-5)


def test_positions_are_resized_bilinearly(system) -> None:
    source = recipe().recipe_tensor("posemb_source", (197, 768))
    resized = torch.cat([source[:1], resize_positions(source[1:], 32, 32)])
    recorded = np.load(FOLDER / "posemb_resize_zegclip.npz")
    expected = next(recorded[key] for key in recorded.files if recorded[key].shape[0] == 1025)
    np.testing.assert_allclose(resized[:, :8].numpy(), expected[:, :8], atol=1e-6)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("keys_*.json")), ids=lambda path: path.stem)
def test_published_names_survive_conversion(path) -> None:
    names = json.loads(path.read_text())["state_dict"]
    state = {key: torch.empty(shape, device="meta") for key, shape in names.items()}
    back = to_published(to_ours(state))
    assert {key: tensor.shape for key, tensor in back.items()} == {key: tensor.shape for key, tensor in state.items()}


def test_metrics() -> None:
    """The published evaluation: a class that is predicted but has no pixel counts as 0."""
    arrays, recorded = (
        np.load(FOLDER / "metrics_inputs.npz"),
        json.loads((FOLDER / "metrics_reference.json").read_text()),
    )
    truth, predicted = arrays["gt_raw"].astype(int) - 1, arrays["pred"]
    known = (truth >= 0) & (truth < 20)
    confusion = np.zeros((21, 20), np.int64)
    np.add.at(confusion, (predicted[known], truth[known]), 1)
    metrics = semantic_metrics(confusion, [15, 16, 17, 18, 19])
    expected = recorded["eval_results"]
    assert round(metrics["pACC"], 2) == pytest.approx(100 * expected["aAcc"])
    assert round(metrics["mIoU_absent_as_zero"], 2) == pytest.approx(100 * expected["mIoU"])
    assert f"{metrics['mIoU_seen_absent_as_zero']:.1f}" == "43.4"
    seen, unseen = metrics["mIoU_seen_absent_as_zero"], metrics["mIoU_unseen_absent_as_zero"]
    assert metrics["hIoU_absent_as_zero"] == pytest.approx(2 * seen * unseen / (seen + unseen))


def test_tokens_of_all_coco_stuff_names(inductive) -> None:
    names = MetadataCatalog.get("zero_shot_coco_stuff_val").stuff_classes
    recorded = torch.load(FOLDER / "coco171_tokens_single.pt", weights_only=True)
    assert recorded["class_names"] == names
    tokens = inductive.backbone.tokenize_text([f"a photo of a {name}" for name in names])
    assert torch.equal(tokens[:, :16], recorded["single"].to(tokens.dtype))
