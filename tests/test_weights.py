import pytest
import torch
from detectron2.modeling import build_model

from fcclip import load_weights
from fcclip.files.checkpoints import CLIP_FINGERPRINT, CLIP_PREFIX
from fcclip.weights import fingerprint, load_mask_generator
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


def test_random_weights_that_are_allowed_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    model = build_model(tiny_cfg(MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=True)).eval()
    model(IMAGE)
    model(IMAGE)
    told = "the CLIP and the mask generator of this model have random weights, as was asked for"
    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(":")[0] for message in messages if "random" in message] == [told]


def test_loaded_weights_are_not_called_random(tmp_path, state, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"model": state}, tmp_path / "whole.pth")
    model = unloaded()
    load_weights(model, tmp_path / "whole.pth")
    model(IMAGE)
    assert not [record for record in caplog.records if "random" in record.getMessage()]


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


TRUNK = f"{CLIP_PREFIX}visual.trunk."
MAFT = {"MODEL__META_ARCHITECTURE": "MAFT_Plus", "MODEL__cdt_params": [32, 4]}
ADAPTER = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
OVRCOAT = {"MODEL__META_ARCHITECTURE": "OVRCOAT"}


@pytest.fixture(scope="module")
def family() -> dict[str, dict[str, torch.Tensor]]:
    """State dicts of every system as its authors save it."""
    options = {"adapter": ADAPTER, "maft": MAFT, "adapter on maft": {**MAFT, **ADAPTER}, "ovrcoat": OVRCOAT}
    states = {name: dict(tiny_model(seed=9, **option).state_dict()) for name, option in options.items()}
    for name, teacher in (("maft", "backbone_t."), ("ovrcoat", "frozen_backbone.")):
        clip = {key for key in states[name] if key.startswith(CLIP_PREFIX)}
        states[name] |= {key.replace("backbone.", teacher, 1): torch.zeros(1) for key in clip}
    return states


@pytest.mark.parametrize(
    ("name", "option"),
    [("adapter", ADAPTER), ("maft", MAFT), ("adapter on maft", {**MAFT, **ADAPTER}), ("ovrcoat", OVRCOAT)],
)
@pytest.mark.parametrize("is_nested", [True, False])
def test_files_of_successors_load_flat_and_nested_and_the_teacher_is_left_out(
    tmp_path, family, caplog, name, option, is_nested
) -> None:
    state = family[name]
    torch.save({"model": state} if is_nested else state, tmp_path / "file.pth")
    model = unloaded(**option)
    with caplog.at_level("INFO"):
        load_weights(model, tmp_path / "file.pth")
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert not model.uses_random_weights
    assert ("tensors of the frozen teacher" in caplog.text) == (name in ("maft", "ovrcoat"))


def test_frozen_parts_may_come_from_clip_but_the_tuned_trunk_may_not(tmp_path, family) -> None:
    state = {key: tensor for key, tensor in family["maft"].items() if not key.startswith("backbone_t.")}
    clip = {key.removeprefix(CLIP_PREFIX): tensor for key, tensor in state.items() if key.startswith(CLIP_PREFIX)}
    torch.save(clip, tmp_path / "clip.pt")
    with_trunk = {**head_of(state), **{key: 2 * tensor for key, tensor in state.items() if key.startswith(TRUNK)}}
    torch.save(with_trunk, tmp_path / "trunk.pth")
    torch.save(head_of(state), tmp_path / "head.pth")
    options = {**MAFT, "MODEL__FC_CLIP__CLIP_PRETRAINED_WEIGHTS": str(tmp_path / "clip.pt")}
    model = unloaded(**options, MODEL__WEIGHTS=str(tmp_path / "trunk.pth"))
    load_weights(model, tmp_path / "trunk.pth")
    assert all(torch.equal(t, with_trunk.get(key, state[key])) for key, t in model.state_dict().items())
    assert not model.uses_random_weights
    with pytest.raises(ValueError, match=r"lacks CLIP's image trunk .* which MAFT\+ fine-tunes; take the whole file"):
        load_weights(unloaded(**options), tmp_path / "head.pth")


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        (
            "adapter",
            {},
            "of Mask-Adapter on FC-CLIP, .* of FC-CLIP; use --model fcclip_convnext_large_mask_adapter",
        ),
        ("maft", {}, r"of MAFT\+, .* of FC-CLIP; use --model maftp_convnext_large, or .*maft_plus"),
        ("ovrcoat", {}, "of OVRCOAT, .* of FC-CLIP; use --model ovrcoat_convnext_large, or .*ovrcoat"),
        ("adapter on maft", ADAPTER, r"of Mask-Adapter on MAFT\+, and the configuration is of Mask-Adapter on FC-CLIP"),
        ("adapter", MAFT, r"of Mask-Adapter on FC-CLIP, and the configuration is of MAFT\+"),
        ("plain", OVRCOAT, "of FC-CLIP, and the configuration is of OVRCOAT; use --model fcclip_convnext_large, or"),
    ],
)
def test_a_file_of_another_system_is_named_for_what_it_is(tmp_path, family, state, name, option, message) -> None:
    torch.save(family.get(name, head_of(state)), tmp_path / "file.pth")
    with pytest.raises(ValueError, match=f"it is a checkpoint {message}"):
        load_weights(unloaded(**option), tmp_path / "file.pth")


def test_a_mask_generator_is_taken_from_any_system_that_has_one(tmp_path, family) -> None:
    torch.save(family["adapter"], tmp_path / "file.pth")
    model = unloaded(**OVRCOAT)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items() if key.startswith(CLIP_PREFIX)}
    load_mask_generator(model, tmp_path / "file.pth")
    state = model.state_dict()
    assert all(torch.equal(state[key], t) for key, t in family["adapter"].items() if key.startswith("sem_seg_head."))
    assert torch.equal(model.void_embedding.weight, family["adapter"]["void_embedding.weight"])
    assert all(torch.equal(state[key], tensor) for key, tensor in before.items())
    torch.save({**state, "void_embedding.weight": torch.zeros(1, 16)}, tmp_path / "narrow.pth")
    with pytest.raises(
        ValueError, match=r"generator of this model: 1 tensors of another shape \(e\.g\. void_embedding"
    ):
        load_mask_generator(model, tmp_path / "narrow.pth")
