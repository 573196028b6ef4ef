"""Registers the heads by importing them."""

from fcclip.modeling import head, pixel_decoder, transformer_decoder

__all__ = ["head", "pixel_decoder", "transformer_decoder"]
