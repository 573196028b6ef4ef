"""ZegCLIP as its users see it: names, seen classes, results, training in three settings, errors."""

from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model

from fcclip import Vocabulary
from fcclip.meta_arch.zegclip import SLOPE, THRESHOLD
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.meta_arch.zero_shot_vocabularies import MULTIPLE_TEMPLATES
from fcclip.segmenter import Segmenter
from tests.zero_shot import CLASSES, DATASET, UNSEEN, scores_of, zero_shot_cfg, zero_shot_model


def image(height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.randint(0, 255, (3, height, width), generator=torch.Generator().manual_seed(0)).float()


def example(**changes: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {"image": image(), "sem_seg": torch.randint(0, 20, (40, 56), generator=generator), **changes}


@pytest.fixture(scope="module")
def model() -> ZeroShotModel:
    return zero_shot_model()


def test_mask_logits(model) -> None:
    text = torch.nn.functional.normalize(torch.randn(7, 64), dim=-1)
    logits = model.mask_logits(torch.randn(2, 3, 48, 80), text)
    assert logits.shape == (2, 7, 48, 80)
    assert logits.requires_grad


def test_scores_and_labels_agree(model) -> None:
    model.set_metadata(MetadataCatalog.get(DATASET))
    inputs = [{"image": image(), "height": 70, "width": 90}]
    scores = model(inputs)[0]["sem_seg"]
    assert scores.shape == (20, 70, 90)
    with model.labels_only():
        labels = model(inputs)[0]["sem_seg"]
    assert labels.dtype == torch.int64
    assert (labels != scores.argmax(dim=0)).sum() <= 2


def test_seen_classes_pay_a_penalty(model) -> None:
    model.set_metadata(MetadataCatalog.get(DATASET))
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        logits = model.mask_logits(images, model.vocabularies.test(model.device).text.embeddings)
        difference = (logits.sigmoid() - scores_of(model, images)).amax(dim=(0, 2, 3))
    assert difference.tolist() == pytest.approx([0.0 if index in UNSEEN else 0.1 for index in range(20)], abs=1e-6)


def test_seen_names_of_the_user(model) -> None:
    model.set_vocabulary(Vocabulary.from_string("class3; class16; something,class4; new"))
    assert model.vocabularies.test(model.device).seen.tolist() == [True, False, True, False]
    assert model([{"image": image()}])[0]["sem_seg"].shape == (4, 40, 56)


def test_datasets_without_a_split_are_all_seen(model) -> None:
    MetadataCatalog.pop("other_zero_shot", None)
    MetadataCatalog.get("other_zero_shot").set(stuff_classes=["moon", "class1", "class16"])
    model.set_metadata(MetadataCatalog.get("other_zero_shot"))
    assert model.vocabularies.test(model.device).seen.tolist() == [True, True, True]


def test_the_best_synonym_counts(model) -> None:
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        for names, expected in (("a,b; c", [[0, 1], [2]]), ("a; b", [[0], [1]])):
            model.set_vocabulary(Vocabulary.from_string(names))
            text = model.vocabularies.test(model.device).text
            decoded = model.decode(images)
            rows = model.classify(decoded, text.embeddings)
            best = torch.stack([rows[:, group].amax(dim=1) for group in expected], dim=1)
            best = torch.nn.functional.interpolate(best, size=(48, 48), mode="bilinear", align_corners=False)
            torch.testing.assert_close(model.class_logits(decoded, text, (48, 48)), best)


def test_segmenter(model) -> None:
    segmenter = Segmenter(model, min_size=64, max_size=1000)
    segmenter.set_vocabulary("cat,kitten; wall=stuff")
    result = segmenter.predict(np.zeros((30, 40, 3), np.uint8))
    assert result.semantic is not None
    assert result.semantic.shape == (30, 40)
    assert result.random_weights
    assert model([{"image": image()}])[0]["sem_seg"].ndim == 3, "a segmenter leaves the model as it was"


@pytest.mark.parametrize(("setting", "classes"), [("inductive", 15), ("transductive", 20), ("fully_supervised", 20)])
def test_training(setting, classes) -> None:
    model = zero_shot_model(MODEL__ZERO_SHOT__SETTING=setting, MODEL__ZERO_SHOT__CROP_SIZE=64).train()
    losses = model([example(), example(image=image(30, 64), sem_seg=torch.zeros(30, 64).long())])
    assert set(losses) == {"loss_mask", "loss_dice"}
    sum(losses.values()).backward()
    assert model.vocabularies.num_training_classes == classes
    assert len(model.vocabularies.train(model.device).text) == classes
    gradient = model.backbone.prompts.deep.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_inductive_training_never_sees_unseen_names() -> None:
    model = zero_shot_model()
    assert model.vocabularies.train_vocabulary.names == tuple(CLASSES[:15])
    labels = model.training_labels(torch.arange(20)[None], torch.empty(0))
    assert labels.tolist() == [[*range(15), *[255] * 5]]


def test_padding_is_ignored() -> None:
    model = zero_shot_model(MODEL__ZERO_SHOT__CROP_SIZE=64).train()
    normalised = (image() - model.pixel_mean) / model.pixel_std
    batch, labels = model._training_batch([normalised], [example()])
    assert batch.shape == (1, 3, 64, 64)
    assert (batch[:, :, 40:] == 0).all()
    assert (batch[..., 56:] == 0).all()
    assert (labels[:, 40:] == 255).all()
    assert torch.equal(labels[0, :40, :56], example()["sem_seg"])


@pytest.mark.parametrize(
    "switches",
    [
        {"ENCODER": "fixed"},
        {"ENCODER": "fine_tuned"},
        {"LOSS": "softmax"},
        {"DESCRIPTOR": False},
        {"DECODER_LAYERS": 1},
        {"TEMPLATES": "multiple"},
    ],
    ids=str,
)
def test_each_design_is_a_switch(switches) -> None:
    settings = {f"MODEL__ZERO_SHOT__{key}": value for key, value in switches.items()}
    model = zero_shot_model(MODEL__ZERO_SHOT__CROP_SIZE=64, **settings).train()
    sum(model([example()]).values()).backward()
    scores = model.eval()([{"image": image()}])[0]["sem_seg"]
    assert torch.isfinite(scores).all()


def test_softmax_scores_add_up() -> None:
    model = zero_shot_model(MODEL__ZERO_SHOT__LOSS="softmax", MODEL__ZERO_SHOT__SEEN_PENALTY=0.0)
    scores = scores_of(model, torch.randn(1, 3, 48, 48))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(1, 48, 48))


def test_templates() -> None:
    assert len(set(MULTIPLE_TEMPLATES)) == 15
    assert all(template.count("{}") == 1 and template.endswith(".") for template in MULTIPLE_TEMPLATES)
    assert MULTIPLE_TEMPLATES[:5] == (
        "a photo of a {}.",
        "a photo of a small {}.",
        "a photo of a medium {}.",
        "a photo of a large {}.",
        "This is a photo of a {}.",
    )


def test_random_weights_do_not_pass_silently() -> None:
    model = zero_shot_model(MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False)
    assert model.uses_random_weights
    with pytest.raises(RuntimeError, match="random weights; load a checkpoint"):
        model([{"image": image()}])


def test_training_needs_label_maps(model) -> None:
    with pytest.raises(ValueError, match=r'image a\.jpg has no "sem_seg"; set INPUT\.DATASET_MAPPER_NAME zero_shot'):
        zero_shot_model().train()([{"image": image(), "file_name": "a.jpg"}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"MODEL__ZERO_SHOT__SETTING": "zero"},
            'SETTING is "zero"; choose one of inductive, transductive',
        ),
        ({"MODEL__ZERO_SHOT__TEMPLATES": "many"}, 'TEMPLATES is "many"; choose one of single, multiple'),
        ({"DATASETS__TRAIN": ()}, "DATASETS.TRAIN is empty"),
    ],
)
def test_wrong_settings(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(zero_shot_cfg(**changes))


def test_transductive_training_needs_unseen_classes() -> None:
    MetadataCatalog.pop("all_seen", None)
    MetadataCatalog.get("all_seen").set(stuff_classes=["a", "b"])
    with pytest.raises(ValueError, match="no unseen_classes, which transductive training needs"):
        build_model(zero_shot_cfg(MODEL__ZERO_SHOT__SETTING="transductive", DATASETS__TRAIN=("all_seen",)))


def with_embeddings(path: Any) -> ZeroShotModel:
    return zero_shot_model(MODEL__ZERO_SHOT__TEXT_EMBEDDINGS=str(path))


def test_given_embeddings(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    model = with_embeddings(tmp_path / "rows.npy")
    model.set_vocabulary(Vocabulary.from_string("class7; new"))
    text = model.vocabularies.test(model.device).text.embeddings
    assert torch.equal(text[0], torch.from_numpy(rows[7]).float())
    assert text[1].norm().item() == pytest.approx(1, abs=1e-5)
    model.load_state_dict(model.state_dict())
    assert torch.equal(model.vocabularies.test(model.device).text.embeddings[0], text[0])


def test_unusable_embeddings(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="check MODEL.ZERO_SHOT.TEXT_EMBEDDINGS"):
        with_embeddings(tmp_path / "no.npy")
    (tmp_path / "text.npy").write_text("no numbers")
    with pytest.raises(ValueError, match="is not a NumPy array of numbers"):
        with_embeddings(tmp_path / "text.npy")
    np.save(tmp_path / "few.npy", np.zeros((3, 64)))
    with pytest.raises(ValueError, match=r"has shape \(3, 64\), but .* need \(20, 64\)"):
        with_embeddings(tmp_path / "few.npy")


@torch.no_grad()
def test_an_aligned_start_is_the_cosine_of_names_and_patches() -> None:
    model = zero_shot_model(MODEL__ZERO_SHOT__ALIGNED_START=True)
    images = torch.randn(1, 3, 128, 128)
    text = torch.nn.functional.normalize(torch.randn(3, model.backbone.dim_latent), dim=-1)
    logits = model.classify(model.decode(images), text)
    patches = model.backbone(images).patches[model.backbone.depth - 1]
    cosines = torch.einsum("behw,ke->bkhw", patches - patches.mean(dim=1, keepdim=True), centred(text))
    torch.testing.assert_close(logits, SLOPE * (cosines - THRESHOLD), atol=1e-3, rtol=1e-3)


def centred(rows: torch.Tensor) -> torch.Tensor:
    """Unit rows, less their mean."""
    return torch.nn.functional.normalize(rows - rows.mean(dim=-1, keepdim=True), dim=-1)


def test_everything_that_is_used_learns_from_an_aligned_start() -> None:
    model = zero_shot_model(MODEL__ZERO_SHOT__ALIGNED_START=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(2, 3, 128, 128), torch.randint(0, 15, (2, 128, 128))
    for _ in range(2):  # what follows a layer of zeros learns one step later
        optimizer.zero_grad()
        sum(model.losses_of_crops(images, labels).values()).backward()
        optimizer.step()
    for layer in model.decoder.layers[:-1]:
        assert layer.linear1.weight.grad.abs().sum() > 0
        assert layer.multihead_attn.v.weight.grad.abs().sum() > 0
    assert model.backbone.prompts.first.grad.abs().sum() > 0
