import pytest
import torch
from detectron2.modeling import build_model

from fcclip.modeling.transformer_decoder import MultiScaleMaskedTransformerDecoder
from fcclip.text import TextClassifier
from tests.tiny import tiny_cfg, tiny_model


def decoder(**overrides: object) -> MultiScaleMaskedTransformerDecoder:
    options = {
        "width": 32, "num_queries": 6, "heads": 4, "feedforward_width": 64, "layers": 3, "pre_norm": False,
        "mask_dim": 32, "embed_dim": 16, "project_inputs": False,
    }  # fmt: skip
    torch.manual_seed(0)
    return MultiScaleMaskedTransformerDecoder(32, **{**options, **overrides})


def decoder_inputs(batch: int = 2) -> tuple[list[torch.Tensor], torch.Tensor, TextClassifier]:
    torch.manual_seed(1)
    levels = [torch.randn(batch, 32, size, size + 1) for size in (2, 4, 8)]
    rows = torch.nn.functional.normalize(torch.randn(5, 16), dim=-1)
    return levels, torch.randn(batch, 32, 16, 18), TextClassifier.build(rows, [0, 0, 1, 2, 3])


@pytest.mark.parametrize("overrides", [{}, {"pre_norm": True}, {"project_inputs": True}])
def test_training_gives_every_layers_output(overrides) -> None:
    outputs = decoder(**overrides)(*decoder_inputs())
    assert outputs["pred_logits"].shape == (2, 6, 4)
    assert outputs["pred_masks"].shape == (2, 6, 16, 18)
    assert len(outputs["aux_outputs"]) == 3


def test_inference_gives_the_same_last_output_alone() -> None:
    model = decoder()
    levels, features, text = decoder_inputs()
    trained = model(levels, features, text)
    decoded = model.eval().decode(levels, features)
    assert torch.equal(trained["pred_logits"], model.classify(decoded.embeddings, text))
    assert torch.equal(trained["pred_masks"], decoded.logits)
    assert decoded.queries.shape == (2, 6, 32)


def test_images_of_a_batch_do_not_mix() -> None:
    model = decoder().eval()
    levels, features, text = decoder_inputs()
    together = model(levels, features, text)
    alone = model([level[1:] for level in levels], features[1:], text)
    torch.testing.assert_close(together["pred_masks"][1:], alone["pred_masks"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together["pred_logits"][1:], alone["pred_logits"], atol=1e-5, rtol=1e-4)


def test_a_query_looks_at_its_mask_or_everywhere() -> None:
    model = decoder()
    features = torch.randn(1, 32, 4, 5)
    queries = model.query_feat.weight[None]
    allowed = model._allowed(queries, features)
    masks = model._masks(model.decoder_norm(queries), features).flatten(2)
    for query in range(6):
        positive = masks[0, query] >= 0
        assert torch.equal(allowed[0, query], positive if positive.any() else torch.ones_like(positive))
    nowhere = model._allowed(queries, torch.zeros_like(features) - 0.0)
    assert nowhere.all()


def test_every_trainable_parameter_gets_a_gradient() -> None:
    model = tiny_model().train()
    features = model.backbone(torch.randn(1, 3, 64, 64))
    text = model.vocabularies.train(model.device).text.with_void(model.void_embedding.weight)
    outputs = model.sem_seg_head(features, text)
    every = [outputs, *outputs["aux_outputs"]]
    sum(output["pred_logits"].sum() + output["pred_masks"].square().sum() for output in every).backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert all(p.grad is None for p in model.backbone.parameters())


def test_pixel_decoder_keeps_float32_under_autocast() -> None:
    model = tiny_model()
    features = {name: x.bfloat16() for name, x in model.backbone(torch.randn(1, 3, 64, 96)).items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masks, coarsest, levels = model.sem_seg_head.pixel_decoder.forward_features(features)
    assert masks.dtype == torch.float32
    assert masks.shape == (1, 32, 16, 24)
    assert [tuple(level.shape[-2:]) for level in levels] == [(2, 3), (4, 6), (8, 12)]
    assert coarsest is levels[0]


def test_only_the_multi_scale_decoder_is_known() -> None:
    with pytest.raises(ValueError, match='TRANSFORMER_IN_FEATURE is "res5"; set it to "multi_scale_pixel_decoder"'):
        build_model(tiny_cfg(MODEL__MASK_FORMER__TRANSFORMER_IN_FEATURE="res5"))
