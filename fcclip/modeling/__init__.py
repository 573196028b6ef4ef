"""Registers the heads by importing them."""

from fcclip.modeling import head, mask_adapter, pixel_decoder, transformer_decoder

__all__ = ["head", "mask_adapter", "pixel_decoder", "transformer_decoder"]
