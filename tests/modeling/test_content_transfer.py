import pytest
import torch
import torch.nn.functional as F

from fcclip.modeling.content_transfer import ContentDependentTransfer, build_content_transfer, scrambled_pieces
from fcclip.modeling.position_encoding import sine_encoding
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg


@pytest.mark.parametrize("form", ["semantic", "panoptic"])
@torch.no_grad()
def test_both_forms_by_hand(form) -> None:
    transfer = ContentDependentTransfer(16, 4, form).eval()
    seed_by_name(transfer)
    layer, attention = transfer.cross_atten, transfer.cross_atten.multihead_attn
    text, places = torch.randn(5, 16), torch.randn(2, 16, 3, 4)
    found = transfer(text, places)
    assert found.shape == (2, 5, 16)
    for image in range(2):
        tokens = places[image].flatten(1).T
        keys = tokens + sine_encoding(3, 4, 16, torch.device("cpu")).flatten(1).T
        (wq, wk, wv), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        query, key, value = F.linear(text, wq, bq), F.linear(keys, wk, bk), F.linear(tokens, wv, bv)
        heads = [
            (query[:, part] @ key[:, part].T / 2).softmax(dim=-1) @ value[:, part]
            for part in (slice(start, start + 4) for start in range(0, 16, 4))
        ]
        change = layer.MLP(attention.out_proj(torch.cat(heads, dim=-1)))
        expected = layer.norm(text + change) if form == "semantic" else text + layer.norm(change)
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=1e-5)


def test_pieces_are_cut_from_the_list_of_all_numbers() -> None:
    features = torch.arange(2 * 4 * 6.0).view(2, 4, 2, 3)  # 4 channels, 6 places
    pieces = scrambled_pieces(features.contiguous(memory_format=torch.channels_last))
    assert torch.equal(pieces, torch.arange(48.0).view(2, 6, 4))


@pytest.mark.parametrize(
    ("panoptic", "key", "form"), [(True, "", "panoptic"), (False, "", "semantic"), (True, "semantic", "semantic")]
)
def test_form_is_the_published_one_unless_it_is_given(panoptic, key, form) -> None:
    cfg = tiny_cfg(
        MODEL__cdt_params=[32, 8],
        MODEL__MAFT_PLUS__TRANSFER_FORM=key,
        MODEL__MASK_FORMER__TEST__PANOPTIC_ON=panoptic,
    )
    assert build_content_transfer(cfg).cross_atten.form == form


def test_width_must_be_that_of_the_embeddings() -> None:
    with pytest.raises(ValueError, match=r"cdt_params is \[768, 8\], but .* embeds in 32 dimensions; set its first"):
        build_content_transfer(tiny_cfg())
