"""The groups of attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.attack import (
    annotations,
    command_lines,
    configurations,
    images,
    kept,
    predictions,
    requests,
    videos,
    weights,
    words,
)
from tests.attack.judge import Attack, judge

GROUPS: dict[str, Callable[[], Iterator[Attack]]] = {
    "images and arrays": images.attacks,
    "class names": words.attacks,
    "configurations": configurations.attacks,
    "weight files": weights.attacks,
    "annotations": annotations.attacks,
    "predictions and label maps": predictions.attacks,
    "videos": videos.attacks,
    "caches, journals and archives": kept.attacks,
    "command lines": command_lines.attacks,
    "requests to the server": requests.attacks,
}


def outcomes(group: str) -> Iterator[tuple[Attack, str]]:
    """Make the attacks of a group, each once, and say how each ended (see `judge`)."""
    made: set[str] = set()
    for attack in GROUPS[group]():
        if attack.name not in made:
            made.add(attack.name)
            yield attack, judge(attack)
