import copy
from contextlib import nullcontext

import pytest
import torch
from detectron2.data import Metadata
from detectron2.modeling import build_model
from detectron2.structures import Instances

import fcclip
from fcclip import FCCLIP, Vocabulary
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model

WORDS = "person,people; sky=stuff; traffic cone"


def image(height: int = 70, width: int = 90, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).float()


@pytest.fixture(scope="module", params=["convnext", "resnet"])
def model(request) -> FCCLIP:
    model = tiny_model(request.param)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string(WORDS))
    return model


def test_results_have_the_size_asked_for(model: FCCLIP) -> None:
    plain, scaled = model([{"image": image()}, {"image": image(), "height": 35, "width": 45}])
    assert plain["sem_seg"].shape == (3, 70, 90)
    assert scaled["sem_seg"].shape == (3, 35, 45)
    assert scaled["panoptic_seg"][0].shape == (35, 45)
    assert scaled["instances"].image_size == (35, 45)
    assert plain["sem_seg"].isfinite().all()
    assert not plain["sem_seg"].requires_grad
    assert len(plain["panoptic_scores"]) == len(plain["panoptic_seg"][1])


def test_only_things_are_instances(model: FCCLIP) -> None:
    instances = model([{"image": image()}])[0]["instances"]
    assert len(instances)
    assert set(instances.pred_classes.tolist()) <= {0, 2}


def test_a_batch_gives_what_single_images_give(model: FCCLIP) -> None:
    images = [{"image": image(64, 96, 1)}, {"image": image(64, 96, 2)}]
    together = model(images)
    for one, result in zip(images, together, strict=True):
        torch.testing.assert_close(model([one])[0]["sem_seg"], result["sem_seg"], atol=1e-4, rtol=1e-4)


def test_labels_alone_are_the_best_scores(model: FCCLIP) -> None:
    scores = model([{"image": image()}])[0]["sem_seg"]
    with model.labels_only():
        labels = model([{"image": image()}])[0]["sem_seg"]
    assert model([{"image": image()}])[0]["sem_seg"].ndim == 3
    assert torch.equal(labels, scores.argmax(0))


@pytest.mark.parametrize("part", ["sem_seg_head.predictor.class_embed", "sem_seg_head.predictor.mask_embed"])
def test_what_is_no_number_is_never_a_class(part: str) -> None:
    model = tiny_model()
    model.set_vocabulary(Vocabulary.from_string(WORDS))
    with torch.no_grad():
        next(model.get_submodule(part).parameters()).fill_(torch.nan)
    for labels_only in (nullcontext(), model.labels_only()):
        with labels_only, pytest.raises(FloatingPointError, match="of the model are NaN or infinite"):
            model([{"image": image()}])


def test_prompts_can_be_ones_own(tmp_path, model: FCCLIP) -> None:
    (tmp_path / "prompts.txt").write_text("a drawing of a {}.\n")
    own = tiny_model(MODEL__FC_CLIP__TEMPLATES=str(tmp_path / "prompts.txt"))
    tokens = own.backbone.tokenize_text(["a drawing of a cat."])
    expected = torch.nn.functional.normalize(own.backbone.encode_text(tokens), dim=-1)
    torch.testing.assert_close(own.vocabularies.embed(["cat"]), expected)


def test_switches_turn_results_off() -> None:
    model = tiny_model(MODEL__MASK_FORMER__TEST__PANOPTIC_ON=False, MODEL__MASK_FORMER__TEST__INSTANCE_ON=False)
    assert model([{"image": image(), "height": 20, "width": 30}])[0]["sem_seg"].shape == (133 + 17, 20, 30)


def test_head_returns_logits_and_masks(model: FCCLIP) -> None:
    features = model.backbone(torch.randn(1, 3, 64, 96))
    outputs = model.sem_seg_head(features, model._with_void(model.vocabularies.test(model.device)))
    assert outputs["pred_logits"].shape == (1, 20, 4)
    assert outputs["pred_masks"].shape == (1, 20, 16, 24)


def test_vocabulary_decides_never_the_registered_datasets(model: FCCLIP) -> None:
    metadata = Metadata(
        stuff_classes=["person,people", "sky", "traffic cone"], thing_dataset_id_to_contiguous_id={1: 0, 9: 2}
    )
    expected = model([{"image": image()}])[0]["sem_seg"]
    model.set_metadata(Metadata(stuff_classes=["cat"], thing_dataset_id_to_contiguous_id={}))
    assert model([{"image": image()}])[0]["sem_seg"].shape[0] == 1
    model.set_metadata(metadata)
    assert torch.equal(model([{"image": image()}])[0]["sem_seg"], expected)
    assert model.vocabulary.thing_ids == {0, 2}


def test_seen_classes_are_those_of_the_training_set(model: FCCLIP) -> None:
    assert model.vocabularies.test(model.device).seen.tolist() == [True, True, False]


def test_backbone_stays_in_eval_mode(model: FCCLIP) -> None:
    model.train()
    assert not any(module.training for module in model.backbone.modules())
    assert model.sem_seg_head.training
    model.eval()


def targets() -> Instances:
    instances = Instances((70, 90))
    instances.gt_classes = torch.tensor([0, 2])
    instances.gt_masks = torch.zeros(2, 70, 90, dtype=torch.bool)
    instances.gt_masks[0, :30, :40] = True
    instances.gt_masks[1, 40:, 50:] = True
    return instances


def test_training_gives_weighted_losses() -> None:
    model = tiny_model(DATASETS__TEST=("openvocab_coco_2017_val_panoptic",)).train()
    losses = model([{"image": image(), "instances": targets()}])
    assert [name for name in losses if name.endswith("_0")] == ["loss_ce_0", "loss_mask_0", "loss_dice_0"]
    assert len(losses) == 3 * 4
    total = sum(losses.values())
    assert total.isfinite()
    total.backward()
    assert model.void_embedding.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match='training image a.jpg has no "instances"'):
        model([{"image": image(), "file_name": "a.jpg"}])


def test_names_are_encoded_once_for_all_training_steps(monkeypatch) -> None:
    model = tiny_model().train()
    instances = Instances((64, 96), gt_masks=torch.ones(1, 64, 96, dtype=torch.bool), gt_classes=torch.tensor([3]))
    calls = []
    embed = model.backbone.clip_model.token_embedding.forward
    monkeypatch.setattr(model.backbone.clip_model.token_embedding, "forward", lambda x: calls.append(1) or embed(x))
    model([{"image": image(64, 96), "instances": instances}])
    first = len(calls)
    assert first > 0
    model([{"image": image(64, 96), "instances": instances}])
    assert len(calls) == first


def test_copy_is_independent(model: FCCLIP) -> None:
    clone = copy.deepcopy(model)
    expected = model([{"image": image()}])[0]["sem_seg"]
    clone.set_vocabulary(Vocabulary.from_string("cat"))
    with torch.no_grad():
        clone.backbone.clip_model.visual.get_parameter(
            next(iter(dict(clone.backbone.clip_model.visual.named_parameters())))
        ).zero_()
    assert clone([{"image": image()}])[0]["sem_seg"].shape[0] == 1
    assert torch.equal(model([{"image": image()}])[0]["sem_seg"], expected)


def test_config_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"EMBED_DIM is 48, but .*tiny_convnext.json embeds in 32 dimensions; set it"):
        build_model(tiny_cfg(MODEL__FC_CLIP__EMBED_DIM=48))
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        build_model(tiny_cfg(DATASETS__TRAIN=()))


def test_published_names_are_there() -> None:
    model = tiny_model()
    assert isinstance(model, fcclip.FCCLIP)
    assert model.overlap_threshold == 0.8
    prompts = model.backbone.get_text_classifier(["a cat", "a dog"], "cpu")
    assert prompts.shape == (2, 32)
    assert model.backbone.visual_prediction_forward(torch.randn(1, 4, 64)).shape == (1, 4, 32)
    assert set(model.backbone.output_shape()) == {"stem", "res2", "res3", "res4", "res5", "clip_embedding"}


ADAPTER = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
PANOPTIC_ONLY = {"MODEL__MASK_FORMER__TEST__SEMANTIC_ON": False, "MODEL__MASK_FORMER__TEST__INSTANCE_ON": False}


def test_an_adapter_changes_what_clip_sees_in_masks_and_nothing_else() -> None:
    plain, adapted = tiny_model(), tiny_model(**ADAPTER)
    for model in (plain, adapted):
        seed_by_name(model)
    assert {key.partition(".")[0] for key in adapted.state_dict().keys() - plain.state_dict().keys()} == {
        "mask_adapter"
    }
    with torch.no_grad():
        (one,), (other,) = (model.encode([{"image": image()}]) for model in (plain, adapted))
    assert torch.equal(one.decoded.mask_logits, other.decoded.mask_logits)
    assert torch.equal(one.decoded.mask_embeddings, other.decoded.mask_embeddings)
    assert not torch.allclose(one.decoded.clip_embeddings, other.decoded.clip_embeddings, atol=1e-3)


def test_an_adapter_needs_a_convnext() -> None:
    with pytest.raises(ValueError, match=r"Mask-Adapter needs a ConvNeXt CLIP, and .*; set MODEL\.FC_CLIP\.CLIP_MODEL"):
        tiny_model("resnet", **ADAPTER)


def test_void_queries_are_not_shown_to_the_adapter_where_only_panoptic_results_are_asked_for(monkeypatch) -> None:
    model = tiny_model(**ADAPTER, **PANOPTIC_ONLY, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.05)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string("cat; dog; sky=stuff"))
    classes, queries = model.vocabularies.test(model.device), 20
    void = torch.linspace(-4, 4, queries)[:, None]
    scores = torch.cat([torch.randn(queries, 3, generator=torch.Generator().manual_seed(0)), void], dim=1)
    monkeypatch.setattr(model.sem_seg_head, "classify", lambda *_: scores[None])
    with torch.no_grad():
        (whole,), (less,) = model.encode([{"image": image()}]), model.encode([{"image": image()}], classes)
        answers = [model.answer(encoded, classes) for encoded in (whole, less)]
    change = whole.decoded.clip_embeddings[0] - less.decoded.clip_embeddings[0]
    skipped = change.abs().amax(dim=1) > 1e-4  # chunks of other sizes round otherwise
    assert torch.equal(skipped, scores.softmax(dim=1)[:, -1] > 0.5)
    assert skipped.any()
    assert not skipped.all()
    assert torch.equal(answers[0]["panoptic_seg"][0], answers[1]["panoptic_seg"][0])
    assert answers[0]["panoptic_seg"][1] == answers[1]["panoptic_seg"][1] != []
    assert answers[0]["panoptic_scores"] == pytest.approx(answers[1]["panoptic_scores"])
