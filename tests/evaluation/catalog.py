"""Datasets registered for one test only."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

Register = Callable[..., str]


@pytest.fixture
def register() -> Iterator[Register]:
    """A function (records, **metadata) -> name of a dataset that is forgotten after the test."""
    names: list[str] = []

    def make(records: list[dict[str, Any]], **metadata: Any) -> str:
        name = f"test_{uuid.uuid4().hex}"
        DatasetCatalog.register(name, lambda: records)
        MetadataCatalog.get(name).set(**metadata)
        names.append(name)
        return name

    yield make
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
