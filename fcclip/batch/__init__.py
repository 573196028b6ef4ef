"""Segmenting very many images into a target that can be gone on with: on one machine, or on many by Ray."""
