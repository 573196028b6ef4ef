"""Trains the small CLIP."""
