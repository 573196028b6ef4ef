"""Fixtures of the evaluation tests."""

from tests.evaluation.catalog import register

__all__ = ["register"]
