"""MAFT+'s content-dependent transfer: what the names of classes mean in the picture at hand."""

from __future__ import annotations

from detectron2.config import CfgNode
from torch import Tensor, nn

from fcclip.modeling.position_encoding import sine_encoding

FORMS = ("semantic", "panoptic")


class TransferLayer(nn.Module):
    """Rows of text look at the places of an image.

    Args:
        width: E.
        heads: of the attention.
        form: "semantic" normalises the changed rows, "panoptic" normalises the change alone.
    """

    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.MLP = nn.Linear(width, width)
        self.form = form
        if form == "panoptic":  # as published: training starts from the names as they are
            nn.init.zeros_(self.MLP.weight)
            nn.init.zeros_(self.MLP.bias)

    def forward(self, text: Tensor, places: Tensor, positions: Tensor) -> Tensor:
        """(B, S, E) rows and (B, n, E) places -> (B, S, E) changed rows, not normalised to unit length."""
        keys = places + positions
        change = self.MLP(self.multihead_attn(text, keys, places, need_weights=False)[0])
        return text + self.norm(change) if self.form == "panoptic" else self.norm(text + change)


class ContentDependentTransfer(nn.Module):
    """Changes the rows of a vocabulary by what an image shows.

    Args:
        width, heads, form: as of `TransferLayer`.

    Source: Jiao et al., "Collaborative Vision-Text Representation Optimizing for Open-Vocabulary Segmentation" (MAFT+),
    ECCV 2024.
    """

    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.cross_atten = TransferLayer(width, heads, form)

    def forward(self, text: Tensor, places: Tensor) -> Tensor:
        """Rows (S, E), "none of these" among them, and CLIP's embeddings of places (B, E, h, w) -> (B, S, E)."""
        batch, channels, height, width = places.shape
        positions = sine_encoding(height, width, channels, places.device).flatten(1).T
        return self.cross_atten(text.expand(batch, -1, -1), places.flatten(2).transpose(1, 2), positions)


def build_content_transfer(cfg: CfgNode) -> ContentDependentTransfer:
    """The transfer that the configuration asks for; by default its form is the published one.

    Raises:
        ValueError: its width is not that of the embeddings.
    """
    width, heads = cfg.MODEL.cdt_params
    if width != cfg.MODEL.FC_CLIP.EMBED_DIM:
        raise ValueError(
            f"MODEL.cdt_params is {[width, heads]}, but {cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME} embeds in "
            f"{cfg.MODEL.FC_CLIP.EMBED_DIM} dimensions; set its first number to that"
        )
    published = "panoptic" if cfg.MODEL.MASK_FORMER.TEST.PANOPTIC_ON else "semantic"
    return ContentDependentTransfer(width, heads, cfg.MODEL.MAFT_PLUS.TRANSFER_FORM or published)


def scrambled_pieces(features: Tensor) -> Tensor:
    """The channels that MAFT+ takes for those of each place: pieces of the list of all numbers, channel by channel.

    Right would be the C channels of the place. The published weights were trained through this mistake and need it.

    Args:
        features: (B, C, h, w).

    Returns:
        (B, h * w, C).
    """
    batch, channels, height, width = features.shape
    return features.reshape(batch, height * width, channels)
