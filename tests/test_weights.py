import pytest
import torch
from detectron2.modeling import build_model

from fcclip import load_weights
from fcclip.files.checkpoints import CLIP_FINGERPRINT, CLIP_PREFIX
from fcclip.weights import fingerprint
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model

IMAGE = [{"image": torch.zeros(3, 64, 64)}]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return tiny_model(seed=7).state_dict()


def unloaded(**overrides: object) -> torch.nn.Module:
    return build_model(tiny_cfg(MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False, **overrides)).eval()


def head_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.startswith(CLIP_PREFIX)}


def test_whole_checkpoint_loads_without_a_rest(tmp_path, state) -> None:
    torch.save({"model": state, "iteration": 5}, tmp_path / "whole.pth")
    model = unloaded()
    report = load_weights(model, tmp_path / "whole.pth")
    assert report.missing == report.unexpected == ()
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert not model.uses_random_weights
    model(IMAGE)


def test_stripped_checkpoint_needs_a_loaded_clip(tmp_path, state) -> None:
    torch.save({"model": head_of(state)}, tmp_path / "head.pth")
    clip = {key.removeprefix(CLIP_PREFIX): tensor for key, tensor in state.items() if key.startswith(CLIP_PREFIX)}
    torch.save(clip, tmp_path / "clip.pt")

    model = unloaded()
    report = load_weights(model, tmp_path / "head.pth")
    assert set(report.missing) == {CLIP_PREFIX + key for key in clip}
    assert model.weights.random_parts == ["CLIP"]
    with pytest.raises(RuntimeError, match=r"the CLIP of this model has random weights; load .* or set .*ALLOW_RANDOM"):
        model(IMAGE)

    model = unloaded(MODEL__FC_CLIP__CLIP_PRETRAINED_WEIGHTS=str(tmp_path / "clip.pt"))
    load_weights(model, tmp_path / "head.pth")
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    model(IMAGE)


def test_checkpoint_with_a_clip_makes_its_download_unnecessary(tmp_path, state) -> None:
    torch.save({"model": state}, tmp_path / "whole.pth")
    cfg = tiny_cfg(MODEL__WEIGHTS=str(tmp_path / "whole.pth"))
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = "/nowhere/clip.pt"
    model = build_model(cfg)
    assert model.weights.random_parts == ["CLIP", "mask generator"]
    load_weights(model, cfg.MODEL.WEIGHTS)
    assert model.weights.random_parts == []


def test_nothing_loaded_refuses_to_run() -> None:
    model = unloaded()
    with pytest.raises(RuntimeError, match="the CLIP and the mask generator of this model have random weights"):
        model(IMAGE)


def test_training_may_start_from_a_random_mask_generator_but_not_from_a_random_clip(tmp_path, state) -> None:
    with pytest.raises(RuntimeError, match="CLIP"):
        unloaded().train()(IMAGE)


def test_random_weights_are_admitted_and_known() -> None:
    model = tiny_model()
    assert model.uses_random_weights
    model(IMAGE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {k: v for k, v in s.items() if "void" not in k},
            r"1 tensors missing \(e.g. void_embedding.weight\)",
        ),
        (lambda s: {**s, "extra": torch.ones(1)}, r"1 tensors unexpected \(e.g. extra\)"),
        (lambda s: {**s, "void_embedding.weight": torch.ones(1, 5)}, r"1 tensors of another shape"),
        (lambda s: dict(list(s.items())[3:]), r"3 tensors missing"),
    ],
)
def test_wrong_checkpoint_is_refused_and_changes_nothing(tmp_path, state, change, message) -> None:
    torch.save(change(dict(state)), tmp_path / "wrong.pth")
    model = tiny_model(seed=1)
    before = fingerprint(model)
    with pytest.raises(ValueError, match=rf"wrong\.pth does not fit this model: {message}.*; check the config"):
        load_weights(model, tmp_path / "wrong.pth")
    assert fingerprint(model) == before


def test_checkpoint_of_a_training_with_other_classes_fits(tmp_path, state) -> None:
    torch.save(state, tmp_path / "coco.pth")
    model = unloaded(MODEL__SEM_SEG_HEAD__NUM_CLASSES=7)
    load_weights(model, tmp_path / "coco.pth")
    assert model.criterion.empty_weight.shape == (8,)
    assert not model.uses_random_weights


def test_loading_makes_the_text_be_encoded_again() -> None:
    model = tiny_model()
    before = model.vocabularies.test(model.device).text.embeddings
    seed_by_name(model)
    after = model.vocabularies.test(model.device).text.embeddings
    assert not torch.allclose(before, after)


def test_fingerprint_sees_every_bit_and_name() -> None:
    layer = torch.nn.Linear(3, 2)
    first = fingerprint(layer)
    assert fingerprint(layer) == first
    with torch.no_grad():
        layer.weight[0, 0] = torch.nextafter(layer.weight[0, 0], torch.tensor(9.0))
    assert fingerprint(layer) != first


def test_checkpoint_of_a_training_wants_its_clip(tmp_path, state) -> None:
    path = tmp_path / "trained.pth"
    clip = tiny_model(seed=7).backbone.clip_model
    torch.save({"model": head_of(state), CLIP_FINGERPRINT: fingerprint(clip)}, path)
    same, other = tiny_model(seed=7), tiny_model(seed=8)
    load_weights(same, path)
    with pytest.raises(
        ValueError, match=r"trained\.pth was trained with another CLIP \(SHA-256 .*; set MODEL\.FC_CLIP"
    ):
        load_weights(other, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: {"visual.conv1.weight": torch.ones(1)},
            "it is a CLIP alone; give it as MODEL.FC_CLIP",
        ),
        (
            lambda s: {
                **s,
                "sem_seg_head.pixel_decoder.adapter_1.weight": torch.ones(32, 256, 1, 1),
                "void_embedding.weight": torch.ones(1, 1024),
            },
            "it was trained with the CLIP RN50, and the configuration has another CLIP",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "_mask_pooling_proj" not in k},
            "it is a checkpoint of Mask2Former, which has no CLIP, and the configuration is of FC-CLIP",
        ),
        (lambda s: {"descriptor.project.weight": torch.ones(1)}, "it is a checkpoint of ZegCLIP or Cascade-CLIP"),
        (
            lambda s: {**s, "sem_seg_head.predictor.query_feat.weight": torch.ones(7, 32)},
            "it has 7 queries; set MODEL.MASK_FORMER.NUM_OBJECT_QUERIES",
        ),
        (
            lambda s: {**s, "void_embedding.weight": s["void_embedding.weight"].to(torch.int32)},
            r"1 tensors are torch\.int32 instead of torch\.float32 \(e\.g\. void_embedding\.weight\)",
        ),
    ],
)
def test_another_checkpoint_is_named_for_what_it_is(tmp_path, state, change, message) -> None:
    torch.save(change(dict(state)), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"other\.pth does not fit this model: {message}"):
        load_weights(tiny_model(seed=1), tmp_path / "other.pth")
